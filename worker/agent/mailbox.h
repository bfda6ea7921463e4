// Work that other threads leave for the daemon's loop.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>

namespace entrain::agent {

// Thread-safe; what is posted runs in order on the thread that calls RunFor.
class Mailbox {
 public:
  using Task = std::function<void()>;

  void Post(Task task) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    arrived_.notify_one();
  }

  // Runs what is there, and what arrives until the first of it ran or `limit_ms` passed.
  void RunFor(std::int64_t limit_ms) {
    std::deque<Task> taken;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      arrived_.wait_for(lock, std::chrono::milliseconds(limit_ms), [this] { return !tasks_.empty(); });
      taken.swap(tasks_);
    }
    for (Task& task : taken) task();
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Task> tasks_;
};

}  // namespace entrain::agent
