#include "cli/view/plain_lines.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/view/sweep_fixture.h"

namespace entrain::cli::view {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(PlainLinesTest, TheFirstUpdateTellsEverything) {
  EXPECT_THAT(ChangeLines(SweepView{}, HalfWaySweep()),
              ElementsAre("sweep quickstart (s1): 4 runs",
                          "SM+LN+G: succeeded  step 200/200  loss 2.3456  perplexity 11.02",
                          "SM+R: running  step 50/200  loss 3.1000  perplexity 24.53  5.1k tokens/s  ETA 30s",
                          "SM: halted (collapse)  stopped: entropy collapse: layer 1: all 4 heads below 0.05 U at steps 70 and 120"
                          "  step 120/200  loss 4.5000",
                          "SM+G: queued  waiting: needs 2 slots, 0 of 2 are free"));
}

TEST(PlainLinesTest, NoLineWithoutAChangeWorthTelling) {
  SweepView later = HalfWaySweep();
  later.runs[1].step = 55;
  later.runs[1].loss = 3.0;
  EXPECT_THAT(ChangeLines(HalfWaySweep(), later), IsEmpty());
}

TEST(PlainLinesTest, TenthsEvaluationsReasonsAndNotes) {
  SweepView later = HalfWaySweep();
  later.runs[1].step = 60;
  later.runs[3].reason = "needs 2 slots, 1 of 2 is free";
  later.note = "coordinator restarted";
  EXPECT_THAT(ChangeLines(HalfWaySweep(), later),
              ElementsAre("SM+R: step 60/200  loss 3.1000  perplexity 24.53  5.1k tokens/s  ETA 30s",
                          "SM+G: waiting: needs 2 slots, 1 of 2 is free", "coordinator restarted"));
  SweepView evaluated = HalfWaySweep();
  evaluated.runs[1].eval_loss = 3.0;
  EXPECT_EQ(ChangeLines(HalfWaySweep(), evaluated).size(), 1u);
}

TEST(PlainLinesTest, ACollapseUnderWayIsToldOnceALayer) {
  SweepView later = HalfWaySweep();
  later.runs[1].step = 55;
  later.runs[1].entropy_fraction = {0.0f, 0.0f, 0.0f, 0.9f, 0.02f, 0.9f, 0.9f, 0.01f};
  EXPECT_THAT(ChangeLines(HalfWaySweep(), later),
              ElementsAre("SM+R: warning  collapsing  layers 0-1: 5 of 8 heads below 0.05 U at step 55"));
  SweepView after = later;
  after.runs[1].step = 56;
  EXPECT_THAT(ChangeLines(later, after), IsEmpty());
}

}  // namespace
}  // namespace entrain::cli::view
