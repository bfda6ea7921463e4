#include "coordinator/rpc/reply_board.h"

#include <chrono>

#include "base/strings.h"

namespace entrain::rpc {

domain::RequestId ReplyBoard::Open() {
  std::lock_guard<std::mutex> lock(mutex_);
  waiting_[++last_] = std::nullopt;
  return last_;
}

absl::StatusOr<domain::Reply> ReplyBoard::Await(domain::RequestId request, std::int64_t timeout_ms) {
  std::unique_lock<std::mutex> lock(mutex_);
  const auto place = waiting_.find(request);
  changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms), [&] { return closed_ || place->second.has_value(); });
  const std::optional<domain::Reply> reply = place->second;
  waiting_.erase(place);
  if (reply) return *reply;
  if (closed_) return absl::UnavailableError("the coordinator is shutting down; whether the request was carried out is not known");
  return absl::DeadlineExceededError(StrCat("no answer within ", timeout_ms, " ms; the request may still be carried out"));
}

void ReplyBoard::Drop(domain::RequestId request) {
  std::lock_guard<std::mutex> lock(mutex_);
  waiting_.erase(request);
}

void ReplyBoard::Deliver(const domain::Reply& reply) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto place = waiting_.find(reply.request);
    if (place == waiting_.end()) return;
    place->second = reply;
  }
  changed_.notify_all();
}

void ReplyBoard::Close() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    closed_ = true;
  }
  changed_.notify_all();
}

}  // namespace entrain::rpc
