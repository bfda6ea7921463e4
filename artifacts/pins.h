// Published folders that somebody reads right now. Whoever deletes asks; whoever reads holds a pin before it looks whether the folder is
// still listed, so that either the reader learns that it goes or the deleter sees the pin.
#pragma once

#include <memory>
#include <mutex>
#include <set>
#include <string>

namespace entrain::artifacts {

// Thread-safe; outlives its pins.
class Pins {
 public:
  // Until the result is gone.
  std::shared_ptr<void> Hold(const std::string& path) {
    std::lock_guard<std::mutex> lock(mutex_);
    held_.insert(path);
    return std::shared_ptr<void>(this, [path](void* pins) { static_cast<Pins*>(pins)->Let(path); });
  }
  bool Held(const std::string& path) const {
    std::lock_guard<std::mutex> lock(mutex_);
    return held_.contains(path);
  }

 private:
  void Let(const std::string& path) {
    std::lock_guard<std::mutex> lock(mutex_);
    held_.erase(held_.find(path));
  }
  mutable std::mutex mutex_;
  std::multiset<std::string> held_;
};

}  // namespace entrain::artifacts
