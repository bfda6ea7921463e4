#include "worker/trainer/loss_scale.h"

#include "gtest/gtest.h"

namespace entrain::trainer {
namespace {

TEST(LossScaleTest, IsOneUnlessThePrecisionIsFp16) {
  for (const auto precision : {domain::Precision::kFp32, domain::Precision::kBf16}) {
    LossScale scale(precision);
    for (std::int64_t step = 0; step < 2 * LossScale::kStepsToDouble; ++step) scale.StepApplied();
    scale.Restore(512.0, 3);
    EXPECT_EQ(scale.value(), 1.0);
    EXPECT_FALSE(scale.Lower());
  }
}

TEST(LossScaleTest, HalvesAtAnOverflowDownToOne) {
  LossScale scale(domain::Precision::kFp16);
  EXPECT_EQ(scale.value(), 65536.0);
  int halvings = 0;
  while (scale.Lower()) ++halvings;
  EXPECT_EQ(halvings, 16);
  EXPECT_EQ(scale.value(), 1.0);
}

TEST(LossScaleTest, DoublesAfterStepsInARowWithoutOverflow) {
  LossScale scale(domain::Precision::kFp16);
  const auto steps = [&](std::int64_t count) {
    for (std::int64_t step = 0; step < count; ++step) scale.StepApplied();
  };
  steps(LossScale::kStepsToDouble - 1);
  ASSERT_TRUE(scale.Lower());
  steps(LossScale::kStepsToDouble - 1);
  EXPECT_EQ(scale.value(), 32768.0) << "an overflow begins the count anew";
  steps(1);
  EXPECT_EQ(scale.value(), 65536.0);
  steps(20 * LossScale::kStepsToDouble);
  EXPECT_EQ(scale.value(), LossScale::kLargest);
}

TEST(LossScaleTest, GoesOnWhereACheckpointWas) {
  LossScale whole(domain::Precision::kFp16), resumed(domain::Precision::kFp16);
  for (int step = 0; step < 1500; ++step) whole.StepApplied();
  resumed.Restore(whole.value(), whole.steps_since_change());
  for (int step = 0; step < 500; ++step) {
    whole.StepApplied();
    resumed.StepApplied();
  }
  EXPECT_EQ(whole.value(), 131072.0);
  EXPECT_EQ(resumed.value(), whole.value());
}

}  // namespace
}  // namespace entrain::trainer
