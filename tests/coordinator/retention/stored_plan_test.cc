#include "coordinator/retention/stored_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/coordinator/retention/state_maker.h"

namespace entrain::retention {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::int64_t kOneDayMs = 86'400'000;

class StoredPlanTest : public testing::Test {
 protected:
  StoredPlanTest() {
    first_ = maker_.Start("s1", 10'000);
    maker_.Verdict(first_, 9'000, 8'500);
    maker_.Finish(first_, kOneDayMs, domain::RunState::kHalted);
    second_ = maker_.Start("s2", 10'000);
    maker_.Finish(second_, 2 * kOneDayMs);
    live_ = maker_.Start("s3", 10'000);
    for (const RunId& run : {first_, second_, live_}) usage_[run] = {10'000, 100'000, 1'000};
  }
  StoredPlan Plan(std::int64_t now_ms = 0) { return PlanStored(maker_.state(), limits_, now_ms, usage_); }
  StateMaker maker_;
  RunId first_, second_, live_;
  std::map<RunId, store::Usage> usage_;
  Limits limits_;
};

TEST_F(StoredPlanTest, WithoutLimitsEverythingStays) {
  EXPECT_THAT(Plan(1'000 * kOneDayMs).thin, IsEmpty());
  EXPECT_THAT(Plan(1'000 * kOneDayMs).trim, IsEmpty());
}

TEST_F(StoredPlanTest, SamplesOfOldSweepsAreThinnedOnceAndKeepWhatReportsQuote) {
  limits_.thin_after_s = 86'400;
  limits_.samples_kept = 100;
  const StoredPlan plan = Plan(2 * kOneDayMs);
  ASSERT_EQ(plan.thin.size(), 1U);
  EXPECT_EQ(plan.thin.front().run, first_);
  EXPECT_EQ(plan.thin.front().every, 100);
  EXPECT_THAT(plan.thin.front().steps, ElementsAre(1, 8'500, 9'000, 10'000));
  usage_[first_].samples = 104;
  EXPECT_THAT(Plan(2 * kOneDayMs).thin, IsEmpty());
}

TEST_F(StoredPlanTest, ASampleQuotaThinsTheLongestOverFirstThenLeavesResultsOnly) {
  limits_.samples_kept = 1'000;
  limits_.sample_quota_bytes = 215'000;
  StoredPlan plan = Plan();
  ASSERT_EQ(plan.thin.size(), 1U);
  EXPECT_EQ(plan.thin.front().run, first_);
  limits_.sample_quota_bytes = 105'000;
  plan = Plan();
  ASSERT_EQ(plan.thin.size(), 2U);
  EXPECT_EQ(plan.thin.front().every, 10'001);
  EXPECT_EQ(plan.thin.back().every, 10'001);
  EXPECT_EQ(plan.samples_over_bytes, 0);
  // The live run's are never touched.
  limits_.sample_quota_bytes = 50'000;
  EXPECT_GT(Plan().samples_over_bytes, 50'000);
  EXPECT_EQ(Plan().thin.size(), 2U);
}

TEST_F(StoredPlanTest, ALogBeyondItsBoundIsCutWhateverItsRunDoes) {
  limits_.log_bytes_per_run = 800;
  usage_[second_].log_bytes = 800;
  const StoredPlan plan = Plan();
  ASSERT_EQ(plan.trim.size(), 2U);
  for (const StoredPlan::Trim& trim : plan.trim) {
    EXPECT_NE(trim.run, second_);
    EXPECT_EQ(trim.keep_bytes, 600);
  }
}

TEST_F(StoredPlanTest, ALogQuotaTakesLogsOfSweepsThatEnded) {
  limits_.log_quota_bytes = 2'500;
  StoredPlan plan = Plan();
  ASSERT_EQ(plan.trim.size(), 1U);
  EXPECT_EQ(plan.trim.front().run, first_);
  EXPECT_EQ(plan.trim.front().keep_bytes, 0);
  limits_.log_quota_bytes = 500;
  plan = Plan();
  EXPECT_EQ(plan.trim.size(), 2U);
  EXPECT_EQ(plan.logs_over_bytes, 500);
}

}  // namespace
}  // namespace entrain::retention
