// The state as of the last commit: one writer publishes, any thread reads. A State is a value whose copies share structure, so a
// published one never changes and is kept by whoever still reads it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>

#include "coordinator/core/state.h"

namespace entrain::samples {

class PublishedState {
 public:
  using View = std::shared_ptr<const core::State>;

  void Publish(View view) {
    std::lock_guard<std::mutex> lock(mutex_);
    view_ = std::move(view);
  }
  // Never null.
  View Get() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return view_;
  }
  // For readers that look again and again: waits `duration_ms`, or returns at once when no more will be published.
  void Pause(std::int64_t duration_ms) const {
    std::unique_lock<std::mutex> lock(mutex_);
    closed_changed_.wait_for(lock, std::chrono::milliseconds(duration_ms), [&] { return closed_; });
  }
  bool closed() const {
    std::unique_lock<std::mutex> lock(mutex_);
    return closed_;
  }
  void Close() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      closed_ = true;
    }
    closed_changed_.notify_all();
  }

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable closed_changed_;
  View view_ = std::make_shared<const core::State>();
  bool closed_ = false;
};

}  // namespace entrain::samples
