// How long one step may take before its gang counts as hung.
#pragma once

#include <chrono>
#include <cstddef>
#include <vector>

namespace entrain::trainer {

class StepLimit {
 public:
  using Duration = std::chrono::nanoseconds;
  static constexpr Duration kFirst = std::chrono::minutes(10);
  static constexpr Duration kLeast = std::chrono::seconds(30);
  static constexpr int kTimesSlowest = 10;  // of the 99th percentile
  static constexpr std::size_t kRemembered = 1000;

  // The time a step took.
  void Add(Duration step);
  // max(30 s, 10 x the 99th percentile of the last 1000 steps); 10 minutes before the first, which may have to compile and allocate.
  Duration Limit() const { return limit_; }

 private:
  std::vector<Duration> steps_;  // a ring once it is full
  std::size_t next_ = 0;
  std::size_t added_ = 0;
  Duration limit_ = kFirst;
};

}  // namespace entrain::trainer
