#include "worker/trainer/step_limit.h"

#include <algorithm>

namespace entrain::trainer {
namespace {

// The percentile moves slowly; it is taken anew at the first steps and then now and then.
constexpr std::size_t kAlways = 100, kEvery = 50;

StepLimit::Duration Percentile99(std::vector<StepLimit::Duration> steps) {
  const auto place = steps.begin() + static_cast<std::ptrdiff_t>((steps.size() * 99 + 99) / 100 - 1);
  std::nth_element(steps.begin(), place, steps.end());
  return *place;
}

}  // namespace

void StepLimit::Add(Duration step) {
  if (steps_.size() < kRemembered) {
    steps_.push_back(step);
  } else {
    steps_[next_] = step;
    next_ = (next_ + 1) % kRemembered;
  }
  if (++added_ <= kAlways || added_ % kEvery == 0) limit_ = std::max(kLeast, kTimesSlowest * Percentile99(steps_));
}

}  // namespace entrain::trainer
