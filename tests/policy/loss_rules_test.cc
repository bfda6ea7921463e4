#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "policy/policy.h"
#include "policy/rule.h"
#include "tests/policy/sample_stream.h"

namespace entrain::policy {
namespace {

constexpr RunShape kLossShape{.n_layer = 1, .n_head = 2, .context = 64, .steps = 400};

domain::EntropySample WithLoss(std::int64_t step, double loss) {
  domain::EntropySample sample = SampleAt(step, {0.6, 0.6}, 64);
  sample.loss = loss;
  return sample;
}

// A usual curve: 5.5 falls to 2.5, noise of 0.05.
double UsualLoss(std::int64_t step, Rng* rng) { return 2.5 + 3.0 * std::exp(-static_cast<double>(step) / 40.0) + 0.05 * rng->Normal(); }

TEST(SpikeRule, AUsualCurveHasNone) {
  const auto rule = MakeSpikeRule({});
  Rng rng(1, 0);
  for (std::int64_t step = 1; step <= 400; ++step) EXPECT_FALSE(rule->Observe(WithLoss(step, UsualLoss(step, &rng))).has_value()) << step;
}

TEST(SpikeRule, ThreeLossesFarAboveTheMedianAreOne) {
  const auto rule = MakeSpikeRule({});
  Rng rng(2, 0);
  std::optional<domain::Verdict> verdict;
  for (std::int64_t step = 1; step <= 203; ++step) {
    EXPECT_FALSE(verdict.has_value()) << step;
    verdict = rule->Observe(WithLoss(step, step == 150 || step > 200 ? 4.0 : UsualLoss(step, &rng)));
  }
  ASSERT_TRUE(verdict.has_value());
  EXPECT_EQ(verdict->rule, "spike");
  EXPECT_EQ(verdict->steps, (std::vector<std::int64_t>{201, 202, 203}));
  EXPECT_GT(verdict->limit, 3.0);
  EXPECT_LT(verdict->limit, 3.7);
}

TEST(DivergenceRule, FiresWhereTheLossRisesAndStays) {
  const auto rule = MakeDivergenceRule({}, kLossShape);  // 1 nat above the best for 40 of 400 steps
  Rng rng(3, 0);
  std::optional<domain::Verdict> verdict;
  std::int64_t step = 1;
  for (; step <= 400 && !verdict.has_value(); ++step) {
    // One hump of 30 steps is forgiven.
    const bool up = (step > 100 && step <= 130) || step > 200;
    verdict = rule->Observe(WithLoss(step, UsualLoss(step, &rng) + (up ? 2.0 : 0.0)));
  }
  ASSERT_TRUE(verdict.has_value());
  EXPECT_EQ(verdict->rule, "divergence");
  EXPECT_EQ(verdict->reason, domain::HaltReason::kDivergence);
  EXPECT_NEAR(static_cast<double>(verdict->step), 251.0, 2.0) << "half a window until the median is up, then 40 steps";
}

TEST(PlateauRule, FiresAfterSoLongWithoutAGain) {
  domain::PlateauRule settings;
  settings.sustained_steps = 100;
  settings.sustained_fraction = 0.0;
  settings.window_steps = 10;
  const auto rule = MakePlateauRule(settings, kLossShape);
  std::optional<domain::Verdict> verdict;
  std::int64_t step = 1;
  for (; step <= 400 && !verdict.has_value(); ++step) verdict = rule->Observe(WithLoss(step, step < 150 ? 5.0 - 0.02 * static_cast<double>(step) : 2.0));
  ASSERT_TRUE(verdict.has_value());
  EXPECT_EQ(verdict->reason, domain::HaltReason::kPlateau);
  EXPECT_NEAR(static_cast<double>(verdict->step), 255.0, 2.0);
}

TEST(OverloadRule, FiresWhenNearlyAllHeadsStayAtTheTop) {
  domain::OverloadRule settings;
  settings.sustained_steps = 50;
  settings.sustained_fraction = 0.0;
  const auto rule = MakeOverloadRule(settings, kLossShape);
  for (std::int64_t step = 1; step <= 100; ++step) EXPECT_FALSE(rule->Observe(SampleAt(step, {0.8, 0.74}, 64)).has_value());
  for (std::int64_t step = 101; step <= 150; ++step) EXPECT_FALSE(rule->Observe(SampleAt(step, {0.8, 0.9}, 64)).has_value());
  const auto verdict = rule->Observe(SampleAt(151, {0.8, 0.9}, 64));
  ASSERT_TRUE(verdict.has_value());
  EXPECT_EQ(verdict->reason, domain::HaltReason::kOverload);
  EXPECT_EQ(verdict->heads, (std::vector<std::int32_t>{0, 1}));
}

}  // namespace
}  // namespace entrain::policy
