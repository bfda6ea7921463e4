// The small figures of the full-screen view: sparkline, loss history, heat map, collapse warnings.
#include <cmath>

#include "cli/format.h"
#include "cli/view/collapse_warning.h"
#include "cli/view/heat_map.h"
#include "cli/view/heat_strip.h"
#include "cli/view/loss_history.h"
#include "cli/view/sparkline.h"
#include "cli/view/terminal.h"
#include "gtest/gtest.h"
#include "tests/cli/view/sweep_fixture.h"

namespace entrain::cli::view {
namespace {

TEST(SparklineTest, SpansFromLowestToHighest) {
  EXPECT_EQ(Sparkline({8, 7, 6, 5, 4, 3, 2, 1}, Colour::k256), "█▇▆▅▄▃▂▁");
  EXPECT_EQ(Sparkline({1, 2, 3, 4, 5, 6, 7, 8}, Colour::kNone), "_.:-=+*#");
  EXPECT_EQ(Sparkline({2, 2, 2}, Colour::kNone), "===");
  EXPECT_EQ(Sparkline({1, NAN, 2}, Colour::kNone), "_!#");
  EXPECT_EQ(Sparkline({}, Colour::kNone), "");
}

SweepView OneRunAt(std::int64_t step, double loss) {
  SweepView sweep;
  sweep.runs.resize(1);
  sweep.runs[0].id = "a";
  sweep.runs[0].step = step;
  sweep.runs[0].loss = loss;
  return sweep;
}

TEST(LossHistoryTest, AveragesStretchesOfSteps) {
  LossHistory history;
  for (int step = 1; step <= 100; ++step) history.Note(OneRunAt(step, step));
  EXPECT_EQ(history.Curve("a", 4), (std::vector<double>{13, 38, 63, 88}));
  EXPECT_TRUE(history.Curve("b", 4).empty());
  EXPECT_EQ(history.Curve("a", 1), std::vector<double>{50.5});
}

TEST(LossHistoryTest, AStretchWithoutAStepRepeatsTheOneBefore) {
  LossHistory history;
  for (int step : {1, 2, 9, 10}) history.Note(OneRunAt(step, step));
  EXPECT_EQ(history.Curve("a", 4), (std::vector<double>{1.5, 1.5, 1.5, 9.5}));
}

TEST(LossHistoryTest, AResumedAttemptTakesBackWhatCameAfter) {
  LossHistory history;
  for (int step = 1; step <= 10; ++step) history.Note(OneRunAt(step, 1));
  history.Note(OneRunAt(6, 2));
  EXPECT_EQ(history.Curve("a", 10), (std::vector<double>{1, 1, 1, 1, 1, 2}));
}

TEST(LossHistoryTest, WhatWasFetchedComesBeforeWhatWasSeen) {
  LossHistory history;
  history.Note(OneRunAt(5, 50));
  history.Fill("a", {{1, 10}, {3, 30}, {5, 99}, {7, 99}});
  EXPECT_EQ(history.Curve("a", 3), (std::vector<double>{10, 30, 50}));
}

TEST(LossHistoryTest, ALongViewStaysBounded) {
  LossHistory history;
  for (int step = 1; step <= 50'000; ++step) history.Note(OneRunAt(step, step));
  const std::vector<double> curve = history.Curve("a", 100'000);
  EXPECT_LE(curve.size(), 2'000u);
  EXPECT_GT(curve.back(), 49'900);
  EXPECT_LT(curve.front(), 100);
}

TEST(HeatMapTest, WithoutColourOneCharacterAHead) {
  EXPECT_EQ(HeatMap({0.95f, 0.02f, 0.5f, NAN, 0.15f, 0.25f}, 3, 2, Colour::kNone, 40, 10),
            (std::vector<std::string>{"0 @!", "1 +?", "2 .:"}));
}

TEST(HeatMapTest, LayersThatDoNotFitShareALineWithTheirLowest) {
  EXPECT_EQ(HeatMap({0.95f, 0.02f, 0.5f, 0.45f}, 4, 1, Colour::kNone, 40, 2), (std::vector<std::string>{"0-1 !", "2-3 ="}));
  EXPECT_EQ(HeatMap(std::vector<float>(12, 0.5f), 1, 12, Colour::kNone, 8, 2), (std::vector<std::string>{"0 ++++++"}));
}

TEST(HeatMapTest, WithColourAHeadIsTwoColumnsAndTwoLayersShareALineWhenNeeded) {
  const auto tall = HeatMap(std::vector<float>(8, 0.5f), 4, 2, Colour::kTrue, 40, 4);
  ASSERT_EQ(tall.size(), 4u);
  EXPECT_EQ(DisplayWidth(tall[0]), 6);
  const auto low = HeatMap({1.0f, 0.0f, 1.0f, 0.0f, 1.0f}, 5, 1, Colour::kTrue, 40, 3);
  ASSERT_EQ(low.size(), 3u);
  const Rgb red = HeatColour(0.0f);
  EXPECT_NE(low[0].find("\x1b[48;2;" + std::to_string(red.red)), std::string::npos);
  EXPECT_EQ(low[2].find("48;2;"), std::string::npos);  // the last layer is alone
}

TEST(HeatMapTest, NothingWhereNothingFits) {
  EXPECT_TRUE(HeatMap({}, 2, 2, Colour::kNone, 40, 10).empty());
  EXPECT_TRUE(HeatMap({1, 1, 1, 1}, 2, 2, Colour::kNone, 2, 10).empty());
  EXPECT_TRUE(HeatMap({1, 1, 1, 1}, 2, 2, Colour::kNone, 40, 0).empty());
}

TEST(CollapseWarningTest, NamesLayersOfWhichHalfTheHeadsAreLow) {
  RunView run = HalfWaySweep().runs[1];
  EXPECT_EQ(CollapseWarning(run), "layer 1: 2 of 4 heads below 0.05 U at step 50");
  run.entropy_fraction = {0.9f, 0.9f, 0.9f, 0.01f, 0.02f, 0.9f, 0.9f, 0.9f};
  EXPECT_EQ(CollapseWarning(run), "");
  run.entropy_fraction.assign(8, NAN);
  EXPECT_EQ(CollapseWarning(run), "layers 0-1: 8 of 8 heads below 0.05 U at step 50");
  EXPECT_EQ(LowestLayerText(run), "layer 0 is not finite");
  // It says what is under way; what has ended has its reason.
  run.state = domain::RunState::kHalted;
  EXPECT_EQ(CollapseWarning(run), "");
}

TEST(TerminalTest, FramesEraseTheRestOfALineUnlessItIsFull) {
  EXPECT_EQ(FrameBytes({"ab", "abcd"}, 4), "\x1b[?2026h\x1b[Hab\x1b[K\r\nabcd\x1b[0m\x1b[?2026l");
}

}  // namespace
}  // namespace entrain::cli::view
