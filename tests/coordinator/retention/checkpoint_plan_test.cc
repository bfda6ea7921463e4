#include "coordinator/retention/checkpoint_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/retention/healthy.h"
#include "tests/coordinator/retention/state_maker.h"

namespace entrain::retention {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::int64_t kDayMs = 86'400'000;

class CheckpointPlanTest : public testing::Test {
 protected:
  CheckpointPlanTest() { limits_.keep_newest = 0; }
  CheckpointPlan Plan(std::int64_t now_ms = 0, std::int64_t used = 0, std::int64_t leaving = 0) {
    return PlanCheckpoints(maker_.state(), limits_, now_ms, used, leaving, [this](const RunId&) { return judged_; });
  }
  static std::vector<std::int64_t> StepsOf(const CheckpointPlan& plan, const RunId& run) {
    std::vector<std::int64_t> steps;
    for (const domain::RetireCheckpoints& retire : plan.retire) {
      for (const domain::CheckpointRef& ref : retire.checkpoints) {
        if (retire.run == run) steps.push_back(ref.step);
      }
    }
    return steps;
  }
  RunId Ended(const std::string& sweep, std::int64_t wall_ms) {
    const RunId run = maker_.Start(sweep);
    for (const std::int64_t step : {10, 20, 30}) maker_.Checkpoint(run, step, 10);
    maker_.Finish(run, wall_ms);
    return run;
  }
  StateMaker maker_;
  Limits limits_;
  std::int64_t judged_ = 0;
};

TEST_F(CheckpointPlanTest, WithoutLimitsEverythingStays) {
  Ended("s1", 1);
  EXPECT_THAT(Plan(1000 * kDayMs, 1'000'000).retire, IsEmpty());
}

TEST_F(CheckpointPlanTest, TheNewestTheBestAndTheNewestHealthyStay) {
  const RunId run = maker_.Start("s1", 1000);
  for (std::int64_t step = 100; step <= 800; step += 100) maker_.Checkpoint(run, step, 200);
  limits_.keep_newest = 2;
  EXPECT_THAT(StepsOf(Plan(), run), ElementsAre(100, 300, 400, 500, 600));
  judged_ = 400 + WindowSteps(maker_.run(run).spec->health, 1000);
  const CheckpointPlan plan = Plan();
  EXPECT_THAT(StepsOf(plan, run), ElementsAre(100, 300, 500, 600));
  EXPECT_EQ(plan.freed_bytes, 400);
  EXPECT_THAT(plan.retire.front().reason, HasSubstr("newest 2"));
}

TEST_F(CheckpointPlanTest, OfAnOldSweepTheResultsStayUntilItIsReleased) {
  const RunId run = Ended("s1", kDayMs);
  const RunId young = Ended("s2", 9 * kDayMs);
  limits_.delete_after_s = 5 * 86'400;
  EXPECT_THAT(Plan(6 * kDayMs - 1).retire, IsEmpty());
  EXPECT_THAT(StepsOf(Plan(6 * kDayMs), run), ElementsAre(20));
  EXPECT_THAT(StepsOf(Plan(6 * kDayMs), young), IsEmpty());
  maker_.Release("s1");
  EXPECT_THAT(StepsOf(Plan(6 * kDayMs), run), ElementsAre(10, 20, 30));
}

TEST_F(CheckpointPlanTest, TheLastHealthyOneBeforeAVerdictIsAResultToo) {
  const RunId run = maker_.Start("s1");
  for (const std::int64_t step : {10, 20, 30, 40}) maker_.Checkpoint(run, step, 10);
  maker_.Verdict(run, 38, 25);
  maker_.Finish(run, 1, domain::RunState::kHalted);
  limits_.delete_after_s = 1;
  EXPECT_THAT(StepsOf(Plan(kDayMs), run), ElementsAre(30));
}

TEST_F(CheckpointPlanTest, SweepsAreReleasedByAge) {
  Ended("s1", kDayMs);
  maker_.Start("s2");
  limits_.release_after_s = 86'400;
  EXPECT_THAT(Plan(2 * kDayMs - 1).release, IsEmpty());
  EXPECT_THAT(Plan(2 * kDayMs).release, ElementsAre(SweepId("s1")));
  maker_.Release("s1");
  EXPECT_THAT(Plan(2 * kDayMs).release, IsEmpty());
}

TEST_F(CheckpointPlanTest, AQuotaTakesTheLongestOverFirstAndNoMoreThanItNeeds) {
  const RunId second = Ended("s1", 2 * kDayMs);
  const RunId first = Ended("s2", kDayMs);
  const RunId live = maker_.Start("s3");
  for (const std::int64_t step : {10, 20, 30}) maker_.Checkpoint(live, step, 10);
  maker_.Release("s1");
  maker_.Release("s2");
  limits_.artifact_quota_bytes = 800;
  EXPECT_THAT(Plan(0, 800).retire, IsEmpty());
  // What is on its way out counts as gone.
  EXPECT_THAT(Plan(0, 900, 100).retire, IsEmpty());
  CheckpointPlan plan = Plan(0, 900);
  EXPECT_THAT(StepsOf(plan, first), ElementsAre(10, 20, 30));
  EXPECT_THAT(StepsOf(plan, second), IsEmpty());
  EXPECT_EQ(plan.over_quota_bytes, 0);
  plan = Plan(0, 5'000);
  EXPECT_THAT(StepsOf(plan, second), ElementsAre(10, 20, 30));
  EXPECT_THAT(StepsOf(plan, live), IsEmpty());
  EXPECT_EQ(plan.over_quota_bytes, 5'000 - 600 - 800);
}

TEST_F(CheckpointPlanTest, AnUnreleasedSweepKeepsItsResultsWhateverTheQuota) {
  const RunId run = Ended("s1", kDayMs);
  limits_.artifact_quota_bytes = 1;
  const CheckpointPlan plan = Plan(0, 1'000);
  EXPECT_THAT(StepsOf(plan, run), ElementsAre(20));
  EXPECT_EQ(plan.over_quota_bytes, 899);
}

}  // namespace
}  // namespace entrain::retention
