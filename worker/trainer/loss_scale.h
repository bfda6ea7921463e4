// Loss scaling for float16, whose smallest gradients would vanish: the loss is multiplied before the backward pass, gradients are divided
// after it. A step whose gradients overflow is computed again with half the scale, so that no batch is lost and every step counts; after
// many steps without an overflow the scale doubles. A pure function of the steps' outcomes, hence equal on every rank.
#pragma once

#include <cstdint>

#include "domain/run_config.h"

namespace entrain::trainer {

class LossScale {
 public:
  static constexpr double kInitial = 65536.0;
  static constexpr double kLargest = 16777216.0;
  static constexpr std::int64_t kStepsToDouble = 2000;

  // 1 for ever unless the precision is fp16.
  explicit LossScale(domain::Precision precision)
      : dynamic_(precision == domain::Precision::kFp16), value_(dynamic_ ? kInitial : 1.0) {}

  double value() const { return value_; }
  std::int64_t steps_since_change() const { return steps_since_change_; }
  // Of a checkpoint.
  void Restore(double value, std::int64_t steps_since_change);

  // After a step that was applied.
  void StepApplied();
  // After gradients that overflowed: whether the step is worth another try, at half the scale. False at a scale of 1, where a number that
  // is not finite is the run's own.
  bool Lower();

 private:
  bool dynamic_;
  double value_;
  std::int64_t steps_since_change_ = 0;
};

}  // namespace entrain::trainer
