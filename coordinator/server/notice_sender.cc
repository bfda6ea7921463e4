#include "coordinator/server/notice_sender.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/log.h"
#include "base/strings.h"

namespace entrain::server {
namespace {

constexpr std::int64_t kLongestPauseMs = 60'000;

// What another try will not change: the other end understood and refused.
bool IsFinalAnswer(int code) { return code >= 400 && code < 500 && code != 408 && code != 429; }

}  // namespace

NoticeSender::NoticeSender(WebhookOptions options, const Clock* clock, std::function<void(Result)> count)
    : options_(std::move(options)), clock_(clock), count_(std::move(count)), thread_([this] { Work(); }) {}

NoticeSender::~NoticeSender() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void NoticeSender::Post(Notice notice) {
  bool dropped = false;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (waiting_.size() >= options_.max_waiting) {
      waiting_.pop_front();
      dropped = true;
    }
    waiting_.push_back(std::move(notice));
  }
  if (dropped) count_(Result::kDropped);
  changed_.notify_all();
}

std::map<std::string, std::string> NoticeSender::HeadersOf(const Notice& notice, const std::string& secret, std::int64_t wall_ms) {
  const std::string timestamp = StrCat(wall_ms / 1000);
  std::map<std::string, std::string> headers = {
      {"Content-Type", "application/json"}, {"User-Agent", "entrain"}, {"X-Entrain-Delivery", notice.id}, {"X-Entrain-Timestamp", timestamp}};
  if (!secret.empty()) headers["X-Entrain-Signature"] = StrCat("sha256=", transport::HmacSha256Hex(secret, StrCat(timestamp, ".", notice.body)));
  return headers;
}

void NoticeSender::Work() {
  for (;;) {
    Notice notice;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [&] { return ending_ || !waiting_.empty(); });
      if (ending_) return;
      notice = std::move(waiting_.front());
      waiting_.pop_front();
    }
    Deliver(notice);
  }
}

bool NoticeSender::Pause(std::int64_t duration_ms) {
  std::unique_lock<std::mutex> lock(mutex_);
  return !changed_.wait_for(lock, std::chrono::milliseconds(duration_ms), [&] { return ending_; });
}

void NoticeSender::Deliver(const Notice& notice) {
  std::int64_t pause_ms = options_.first_pause_ms;
  for (int tries = 1;; ++tries) {
    const absl::StatusOr<int> code =
        transport::HttpPost(options_.url, HeadersOf(notice, options_.secret, clock_->WallMs()), notice.body, options_.timeout_ms);
    if (code.ok() && *code >= 200 && *code < 300) return count_(Result::kDelivered);
    const std::string why = code.ok() ? StrCat("answered ", *code) : std::string(code.status().message());
    if (tries >= options_.max_tries || (code.ok() && IsFinalAnswer(*code))) {
      Log(LogLevel::kWarning, "notice dropped", {{"delivery", notice.id}, {"tries", StrCat(tries)}, {"why", why}});
      return count_(Result::kDropped);
    }
    count_(Result::kRetried);
    if (!Pause(pause_ms)) return;
    pause_ms = std::min(2 * pause_ms, kLongestPauseMs);
  }
}

}  // namespace entrain::server
