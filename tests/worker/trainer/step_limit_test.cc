#include "worker/trainer/step_limit.h"

#include "gtest/gtest.h"

namespace entrain::trainer {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(StepLimitTest, IsGenerousBeforeTheFirstStepAndNeverShorterThanHalfAMinute) {
  StepLimit limit;
  EXPECT_EQ(limit.Limit(), std::chrono::minutes(10));
  limit.Add(milliseconds(40));
  EXPECT_EQ(limit.Limit(), seconds(30));
}

TEST(StepLimitTest, IsTenTimesTheSlowestOfAHundredSteps) {
  StepLimit limit;
  limit.Add(seconds(20));  // one slow step among few counts
  EXPECT_EQ(limit.Limit(), seconds(200));
  for (int i = 0; i < 99; ++i) limit.Add(seconds(4));
  EXPECT_EQ(limit.Limit(), seconds(40));  // one of a hundred does not
  for (int i = 0; i < 10; ++i) limit.Add(seconds(7));
  for (int i = 0; i < 40; ++i) limit.Add(seconds(4));
  EXPECT_EQ(limit.Limit(), seconds(70));
}

TEST(StepLimitTest, ForgetsStepsOfLongAgo) {
  StepLimit limit;
  for (int i = 0; i < 100; ++i) limit.Add(seconds(9));
  for (std::size_t i = 0; i < StepLimit::kRemembered; ++i) limit.Add(seconds(1));
  EXPECT_EQ(limit.Limit(), seconds(30));
}

}  // namespace
}  // namespace entrain::trainer
