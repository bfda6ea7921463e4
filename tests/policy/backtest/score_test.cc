#include <gtest/gtest.h>

#include <cmath>

#include "policy/backtest/replay.h"
#include "tests/policy/sample_stream.h"

namespace entrain::policy::backtest {
namespace {

TEST(Wilson, KnownIntervals) {
  const Interval none = Wilson(0, 60);
  EXPECT_EQ(none.low, 0.0);
  EXPECT_NEAR(none.high, 0.0602, 1e-4);
  const Interval most = Wilson(57, 60);
  EXPECT_NEAR(most.low, 0.8630, 1e-4);
  EXPECT_NEAR(most.high, 0.9829, 1e-4);
}

Outcome MakeOutcome(bool collapsed, bool dipped, double lag, double saved) {
  Outcome outcome;
  outcome.group = collapsed ? "SM|6|0.01" : "SM+LN|6|0.01";
  outcome.truth.collapsed = collapsed;
  outcome.truth.dipped = dipped;
  outcome.tokens = 1000;
  outcome.saved = saved;
  if (saved > 0.0) outcome.stop.emplace();
  if (collapsed && saved > 0.0) outcome.lag = lag;
  return outcome;
}

TEST(Score, CountsWhatHappened) {
  const std::vector<Outcome> outcomes = {MakeOutcome(true, true, 0.1, 0.8), MakeOutcome(true, true, 0.2, 0.6), MakeOutcome(true, true, 0.6, 0.4),
                                         MakeOutcome(true, true, 0.0, 0.0), MakeOutcome(false, true, 0.0, 0.5), MakeOutcome(false, false, 0.0, 0.0)};
  const Score score = ScoreOf(outcomes);
  EXPECT_EQ(score.collapsing, 4);
  EXPECT_EQ(score.collapsing_stopped, 3);
  EXPECT_EQ(score.collapsing_variants, 1);
  EXPECT_EQ(score.healthy, 2);
  EXPECT_EQ(score.healthy_stopped, 1);
  EXPECT_EQ(score.healthy_dipped_stopped, 1);
  EXPECT_DOUBLE_EQ(score.median_lag.value, 0.2);
  EXPECT_LE(score.median_lag.low, 0.2);
  EXPECT_GE(score.median_lag.high, 0.2);
  // Of the collapsing runs' tokens; what a false stop left untrained is no saving.
  EXPECT_DOUBLE_EQ(score.saved.value, 0.45);
  EXPECT_DOUBLE_EQ(score.saved_of_all.value, 0.3);
  EXPECT_FALSE(MeetsTargets(score));
}

TEST(Replay, SaysWhenTheRunIsStoppedAndHowLateThatIs) {
  Trace trace;
  trace.variant = "SM";
  trace.shape = {.n_layer = 1, .n_head = 2, .context = 64, .steps = 200};
  for (std::int64_t step = 1; step <= 200; ++step) {
    trace.samples.push_back(SampleAt(step, step < 41 ? std::vector<double>{0.6, 0.6} : std::vector<double>{0.001, 0.001}, 64));
    trace.samples.back().tokens = 10 * step;
  }
  const Outcome outcome = Replay(domain::RulesOf(domain::HealthPreset::kDefault), trace);
  EXPECT_TRUE(outcome.truth.collapsed);
  EXPECT_EQ(outcome.truth.onset_step, 41);
  ASSERT_TRUE(outcome.stop.has_value());
  EXPECT_EQ(outcome.stop->step, 91);  // 50 steps, more than 15 % of 200
  EXPECT_DOUBLE_EQ(*outcome.lag, 0.25);
  EXPECT_DOUBLE_EQ(outcome.saved, 1.0 - 91.0 / 200.0);
}

}  // namespace
}  // namespace entrain::policy::backtest
