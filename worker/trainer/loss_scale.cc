#include "worker/trainer/loss_scale.h"

#include <algorithm>

namespace entrain::trainer {

void LossScale::Restore(double value, std::int64_t steps_since_change) {
  if (!dynamic_) return;
  value_ = std::clamp(value, 1.0, kLargest);
  steps_since_change_ = steps_since_change;
}

void LossScale::StepApplied() {
  if (!dynamic_ || ++steps_since_change_ < kStepsToDouble) return;
  value_ = std::min(2.0 * value_, kLargest);
  steps_since_change_ = 0;
}

bool LossScale::Lower() {
  if (!dynamic_ || value_ <= 1.0) return false;
  value_ = std::max(0.5 * value_, 1.0);
  steps_since_change_ = 0;
  return true;
}

}  // namespace entrain::trainer
