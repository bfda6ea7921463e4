#include "coordinator/server/event_queue.h"

#include <chrono>

namespace entrain::server {

absl::Status EventQueue::Post(EventBody body) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [&] { return closed_ || waiting_.size() < max_waiting_; });
  if (closed_) return absl::UnavailableError("the coordinator is shutting down");
  waiting_.push_back(std::move(body));
  changed_.notify_all();
  return absl::OkStatus();
}

void EventQueue::PostOwn(EventBody body) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (closed_) return;
  waiting_.push_back(std::move(body));
  changed_.notify_all();
}

std::vector<EventBody> EventQueue::Take(std::size_t max, std::int64_t timeout_ms) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms), [&] { return closed_ || !waiting_.empty(); });
  std::vector<EventBody> taken;
  while (!waiting_.empty() && taken.size() < max) {
    taken.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  changed_.notify_all();
  return taken;
}

void EventQueue::Close() {
  std::lock_guard<std::mutex> lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

bool EventQueue::closed() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return closed_;
}

}  // namespace entrain::server
