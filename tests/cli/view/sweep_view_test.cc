#include "cli/view/sweep_view.h"

#include "gtest/gtest.h"
#include "tests/cli/view/sweep_fixture.h"

namespace entrain::cli::view {
namespace {

TEST(SweepViewTest, ReasonsReadAsSentences) {
  RunView run;
  run.state = domain::RunState::kHalted;
  run.halt_reason = domain::HaltReason::kCollapse;
  run.reason = "layer 5: all heads below 0.05 U";
  EXPECT_EQ(ReasonText(run), "stopped: entropy collapse: layer 5: all heads below 0.05 U");
  EXPECT_EQ(StateText(run), "halted (collapse)");
  // A reason that already says so is not said twice.
  run.reason = "entropy collapse: layer 5";
  EXPECT_EQ(ReasonText(run), "stopped: entropy collapse: layer 5");
  run = RunView{};
  EXPECT_EQ(ReasonText(run), "");
  run.reason = "needs 4 slots";
  EXPECT_EQ(ReasonText(run), "waiting: needs 4 slots");
  run.never_placeable = true;
  EXPECT_EQ(ReasonText(run), "can never start: needs 4 slots");
}

TEST(SweepViewTest, FinalRunsCountAsDone) {
  // 200 done + 50 + a halted run that needs no more + 0, of 800.
  EXPECT_DOUBLE_EQ(Progress(HalfWaySweep()), 450.0 / 800.0);
  EXPECT_DOUBLE_EQ(Progress(SweepView{}), 0.0);
}

TEST(SweepViewTest, RemainingTimeCountsQueuedRunsAtTheAverageTokensOfAStep) {
  // 150 steps of the live run and 200 of the queued one, 1024 tokens each, at 5120 tokens a second.
  EXPECT_EQ(RemainingMs(HalfWaySweep()), 70'000);
  SweepView idle = HalfWaySweep();
  idle.runs[1].tokens_per_second = 0.0;
  EXPECT_EQ(RemainingMs(idle), -1);
  SweepView finished;
  finished.finished = true;
  EXPECT_EQ(RemainingMs(finished), 0);
}

}  // namespace
}  // namespace entrain::cli::view
