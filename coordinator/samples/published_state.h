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
    {
      std::lock_guard<std::mutex> lock(mutex_);
      view_ = std::move(view);
      ++version_;
    }
    changed_.notify_all();
  }
  // Never null.
  View Get() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return view_;
  }
  // Returns at once when the version is not `seen`, else at the next publication or after `timeout_ms`. The version now.
  std::uint64_t AwaitChange(std::uint64_t seen, std::int64_t timeout_ms) const {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms), [&] { return version_ != seen; });
    return version_;
  }

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  View view_ = std::make_shared<const core::State>();
  std::uint64_t version_ = 0;
};

}  // namespace entrain::samples
