#include "cli/log_tail.h"

#include <chrono>
#include <utility>

namespace entrain::cli {
namespace {

constexpr std::size_t kMaxLogLines = 2'000;

}  // namespace

LogTail::LogTail(Client* client, std::string run, std::string name)
    : client_(client), run_(std::move(run)), name_(std::move(name)), thread_([this] { Run(); }) {}

LogTail::~LogTail() {
  stop_.Stop();
  thread_.join();
}

view::LogView LogTail::Latest() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return {name_, {lines_.begin(), lines_.end()}, note_};
}

void LogTail::Add(const v1::LogLine& line) {
  const std::lock_guard<std::mutex> lock(mutex_);
  lines_.push_back(line.text());
  if (lines_.size() > kMaxLogLines) lines_.pop_front();
}

void LogTail::Run() {
  v1::LogsRequest request;
  request.set_run_id(run_);
  request.set_follow(true);
  while (!stop_.stopped()) {
    bool first = true;
    const absl::Status status = client_->Logs(request, &stop_, [&](const v1::LogLine& line) {
      if (first) {
        // The stream begins with the first line again.
        const std::lock_guard<std::mutex> lock(mutex_);
        lines_.clear();
        note_.clear();
      }
      first = false;
      Add(line);
    });
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      note_ = status.ok() ? "the run has ended" : std::string(status.message());
    }
    if (status.ok() || !Pause()) return;
  }
}

bool LogTail::Pause() {
  // Short slices, so that the end is not kept waiting.
  for (int i = 0; i < 10 && !stop_.stopped(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  return !stop_.stopped();
}

}  // namespace entrain::cli
