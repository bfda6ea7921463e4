#include "policy/backtest/label.h"

#include <gtest/gtest.h>

#include <fstream>
#include <limits>
#include <string>

#include "policy/backtest/split.h"
#include "tests/policy/sample_stream.h"

namespace entrain::policy::backtest {
namespace {

// Two layers of three heads, 100 steps; `shares(step, layer)` gives the three heads' shares of U.
template <typename Shares>
Trace MakeTrace(const Shares& shares) {
  Trace trace;
  trace.shape = {.n_layer = 2, .n_head = 3, .context = 128, .steps = 100};
  for (std::int64_t step = 1; step <= 100; ++step) {
    std::vector<double> heads = shares(step, 0);
    for (const double share : shares(step, 1)) heads.push_back(share);
    trace.samples.push_back(SampleAt(step, heads));
  }
  return trace;
}

using Heads = std::vector<double>;

TEST(Label, AHealthyRunIsNeitherCollapsedNorDipped) {
  const Label label = LabelOf(MakeTrace([](std::int64_t, int) { return Heads{0.6, 0.7, 0.8}; }));
  EXPECT_FALSE(label.collapsed);
  EXPECT_FALSE(label.dipped);
  EXPECT_FALSE(label.touched);
  EXPECT_FALSE(label.onset_step.has_value());
}

TEST(Label, OnsetIsWhereTheMedianHeadGoesDownForGood) {
  // Layer 1's median is down at 30, up at 40, down for good at 57; its third head never is.
  const Label label = LabelOf(MakeTrace([](std::int64_t step, int layer) {
    if (layer == 0) return Heads{0.9, 0.9, 0.9};
    const bool down = (step >= 30 && step < 40) || step >= 57;
    return down ? Heads{0.01, 0.01, 0.1} : Heads{0.6, 0.6, 0.6};
  }));
  EXPECT_TRUE(label.collapsed);
  EXPECT_EQ(label.onset_step, 57);
  EXPECT_EQ(label.onset_layer, 1);
}

TEST(Label, ARunThatRecoversIsHealthyButDippedAndTouched) {
  const Label label = LabelOf(MakeTrace([](std::int64_t step, int) {
    return step >= 30 && step < 60 ? Heads{0.0, 0.0, 0.0} : Heads{0.6, 0.6, 0.6};
  }));
  EXPECT_FALSE(label.collapsed);
  EXPECT_TRUE(label.dipped);
  EXPECT_TRUE(label.touched);
}

TEST(Label, TheMeanOfTheLastTenthDecides) {
  // Steps 91 to 100 count: nine at 0 and one at 0.6 average 0.06, ten at 0.04 average 0.04.
  EXPECT_FALSE(LabelOf(MakeTrace([](std::int64_t step, int) {
                 return step == 95 ? Heads{0.6, 0.6, 0.6} : Heads{0.0, 0.0, 0.0};
               })).collapsed);
  const Label label = LabelOf(MakeTrace([](std::int64_t, int) { return Heads{0.0, 0.06, 0.06}; }));
  EXPECT_TRUE(label.collapsed);
  // The median is never below the limit: the last tenth is where it counts from.
  EXPECT_EQ(label.onset_step, 91);
}

TEST(Label, ALossThatIsNotFiniteIsACollapse) {
  Trace trace = MakeTrace([](std::int64_t, int) { return Heads{0.6, 0.6, 0.6}; });
  trace.samples[41].loss = std::numeric_limits<double>::quiet_NaN();
  const Label label = LabelOf(trace);
  EXPECT_TRUE(label.collapsed);
  EXPECT_TRUE(label.non_finite);
  EXPECT_EQ(label.onset_step, 42);
  EXPECT_FALSE(label.onset_layer.has_value());
}

TEST(Split, SeedsOfOneSettingAreTogether) {
  Trace trace;
  trace.variant = "SM+G";
  trace.learning_rate = 3e-3;
  trace.shape.n_layer = 12;
  trace.seed = 1;
  EXPECT_EQ(GroupOf(trace), "SM+G|12|0.003");
  trace.seed = 2;
  EXPECT_EQ(GroupOf(trace), "SM+G|12|0.003");
}

// What was written down before tuning; a change of the rule or of the hash fails here.
TEST(Split, IsTheOneThatWasWrittenDown) {
  std::ifstream file(std::string(ENTRAIN_SOURCE_DIR) + "/examples/corpus/split.csv");
  std::string line;
  std::getline(file, line);
  ASSERT_EQ(line, "group,part");
  int groups = 0;
  for (; std::getline(file, line); ++groups) {
    const std::size_t comma = line.rfind(',');
    EXPECT_EQ(PartOf(line.substr(0, comma)) == Part::kTest ? "test" : "training", line.substr(comma + 1)) << line;
  }
  EXPECT_EQ(groups, 264);
  EXPECT_EQ(PartOf("SM|4|0.001"), Part::kTest);
  EXPECT_EQ(PartOf("SM+LN+G|4|0.001"), Part::kTraining);
}

}  // namespace
}  // namespace entrain::policy::backtest
