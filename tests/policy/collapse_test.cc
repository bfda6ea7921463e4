#include <gtest/gtest.h>

#include <limits>

#include "policy/policy.h"
#include "tests/policy/sample_stream.h"

namespace entrain::policy {
namespace {

using domain::EntropySample;
using domain::HealthRules;

constexpr RunShape kShape{.n_layer = 3, .n_head = 4, .context = 128, .steps = 1000};
const std::vector<double> kHealthy(12, 0.6);

std::vector<double> WithLayer(std::int64_t layer, double fraction) {
  std::vector<double> fractions = kHealthy;
  for (std::int64_t head = layer * 4; head < layer * 4 + 4; ++head) fractions[static_cast<std::size_t>(head)] = fraction;
  return fractions;
}

// Level alone, with limits that are easy to follow.
HealthRules LevelOnly() {
  HealthRules rules;
  rules.collapse.below_fraction_of_bound = 0.05;
  rules.collapse.share_of_heads = 0.10;
  rules.collapse.min_gap_fraction = 0.0;
  rules.collapse.cascade_layers = 0;
  return rules;
}
// Without the share rule, so that the layer rule is seen alone.
HealthRules LayerOnly() {
  HealthRules rules = LevelOnly();
  rules.collapse.share_of_heads = 2.0;
  return rules;
}

TEST(CollapseRule, FiresWhenAWholeLayerStaysDownForTheGap) {
  RunPolicy policy(LayerOnly(), kShape);
  std::vector<EntropySample> samples;
  for (std::int64_t step = 1; step < 75; ++step) samples.push_back(SampleAt(step, kHealthy));
  for (std::int64_t step = 75; step <= 200; ++step) samples.push_back(SampleAt(step, WithLayer(2, step == 75 ? 0.001 : 0.0)));
  const auto verdict = Feed(&policy, 3, samples);
  ASSERT_TRUE(verdict.has_value());
  EXPECT_EQ(verdict->step, 125);
  EXPECT_EQ(verdict->attempt, 3U);
  EXPECT_EQ(verdict->reason, domain::HaltReason::kCollapse);
  EXPECT_EQ(verdict->rule, "collapse.whole_layer");
  EXPECT_EQ(verdict->heads, (std::vector<std::int32_t>{8, 9, 10, 11}));
  EXPECT_EQ(verdict->steps, (std::vector<std::int64_t>{75, 125}));
  EXPECT_NEAR(verdict->values[0], 0.001, 1e-6);
  EXPECT_EQ(verdict->values[1], 0.0);
  EXPECT_EQ(verdict->limit, 0.05);
  EXPECT_EQ(verdict->explanation,
            "layer 2: all 4 heads below 0.05 of the bound (3.878 nats) at steps 75 and 125: 0.001, 0.000");
}

TEST(CollapseRule, OneSampleAboveTheLimitStartsTheCountAgain) {
  RunPolicy policy(LayerOnly(), kShape);
  std::vector<EntropySample> samples;
  for (std::int64_t step = 1; step <= 90; ++step) samples.push_back(SampleAt(step, step == 40 ? kHealthy : WithLayer(0, 0.01)));
  EXPECT_FALSE(Feed(&policy, 1, samples).has_value());
  const auto verdict = policy.Observe(1, SampleAt(91, WithLayer(0, 0.01)));
  ASSERT_TRUE(verdict.has_value());
  EXPECT_EQ(verdict->steps, (std::vector<std::int64_t>{41, 91}));
}

TEST(CollapseRule, OneHeadAliveKeepsItsLayer) {
  RunPolicy policy(LayerOnly(), kShape);
  std::vector<double> fractions = WithLayer(1, 0.0);
  fractions[6] = 0.0501;
  for (std::int64_t step = 1; step <= 300; ++step) EXPECT_FALSE(policy.Observe(1, SampleAt(step, fractions)).has_value());
}

TEST(CollapseRule, TwoLayersThatTakeTurnsAreNotOneThatStaysDown) {
  RunPolicy policy(LayerOnly(), kShape);
  for (std::int64_t step = 1; step <= 300; ++step) {
    EXPECT_FALSE(policy.Observe(1, SampleAt(step, WithLayer(step / 30 % 2, 0.0))).has_value()) << step;
  }
}

TEST(CollapseRule, FiresOnTheShareOfAllHeads) {
  const HealthRules rules = LevelOnly();
  RunPolicy policy(rules, kShape);
  std::vector<double> one = kHealthy;
  one[5] = 0.01;
  std::vector<double> two = one;
  two[11] = 0.02;
  // 1 of 12 is 8.3 %, below the limit of 10 %.
  for (std::int64_t step = 1; step <= 100; ++step) EXPECT_FALSE(policy.Observe(1, SampleAt(step, one)).has_value());
  for (std::int64_t step = 101; step <= 150; ++step) EXPECT_FALSE(policy.Observe(1, SampleAt(step, two)).has_value());
  const auto verdict = policy.Observe(1, SampleAt(151, two));
  ASSERT_TRUE(verdict.has_value());
  EXPECT_EQ(verdict->rule, "collapse.share_of_heads");
  EXPECT_EQ(verdict->heads, (std::vector<std::int32_t>{5, 11}));
  EXPECT_EQ(verdict->explanation,
            "2 of 12 heads below 0.05 of the bound (3.878 nats); share of heads at steps 101 and 151: 16.67 % and 16.67 %, "
            "limit 10 %");
}

TEST(CollapseRule, CountsSparseSamplesByTheirSteps) {
  RunPolicy policy(LayerOnly(), kShape);
  EXPECT_FALSE(policy.Observe(1, SampleAt(10, WithLayer(0, 0.0))).has_value());
  EXPECT_FALSE(policy.Observe(1, SampleAt(59, WithLayer(0, 0.0))).has_value());
  EXPECT_EQ(policy.Observe(1, SampleAt(80, WithLayer(0, 0.0)))->steps, (std::vector<std::int64_t>{10, 80}));
}

TEST(CollapseRule, AsksForAsManyObservationsAsConfigured) {
  HealthRules rules = LayerOnly();
  rules.collapse.observations = 3;
  rules.collapse.min_gap_steps = 10;
  RunPolicy policy(rules, kShape);
  std::optional<domain::Verdict> verdict;
  for (std::int64_t step = 1; step <= 21; ++step) verdict = policy.Observe(1, SampleAt(step, WithLayer(0, 0.0)));
  ASSERT_TRUE(verdict.has_value());
  EXPECT_EQ(verdict->steps, (std::vector<std::int64_t>{1, 11, 21}));
}

TEST(CollapseRule, JudgesNothingWhenDisabledOrOfAnotherShape) {
  HealthRules rules;
  rules.collapse.enabled = false;
  RunPolicy disabled(rules, kShape);
  RunPolicy other(HealthRules{}, RunShape{.n_layer = 2, .n_head = 4, .context = 128, .steps = 10});
  RunPolicy one_token(HealthRules{}, RunShape{.n_layer = 3, .n_head = 4, .context = 1, .steps = 10});
  for (std::int64_t step = 1; step <= 200; ++step) {
    const EntropySample sample = SampleAt(step, std::vector<double>(12, 0.0));
    EXPECT_FALSE(disabled.Observe(1, sample).has_value());
    EXPECT_FALSE(other.Observe(1, sample).has_value());
    EXPECT_FALSE(one_token.Observe(1, sample).has_value());
  }
}

TEST(CollapseRule, TheGapGrowsWithTheRun) {
  HealthRules rules = LayerOnly();
  rules.collapse.min_gap_fraction = 0.15;  // of 1000 steps
  RunPolicy policy(rules, kShape);
  for (std::int64_t step = 1; step <= 150; ++step) EXPECT_FALSE(policy.Observe(1, SampleAt(step, WithLayer(2, 0.0))).has_value()) << step;
  EXPECT_EQ(policy.Observe(1, SampleAt(151, WithLayer(2, 0.0)))->steps, (std::vector<std::int64_t>{1, 151}));
}

// Trend alone: two layers, for 20 steps.
HealthRules CascadeOnly() {
  HealthRules rules;
  rules.collapse.whole_layer = false;
  rules.collapse.share_of_heads = 2.0;
  rules.collapse.cascade_steps = 20;
  rules.collapse.cascade_fraction = 0.0;
  return rules;
}

// Layer 2 is gone from `from` on; layer 1 falls by `slope` a step from 0.6 on, from `from` on.
std::vector<double> Falling(std::int64_t step, std::int64_t from, double slope) {
  std::vector<double> fractions = step < from ? kHealthy : WithLayer(2, 0.001);
  const double share = std::max(0.0, 0.6 - slope * static_cast<double>(std::max<std::int64_t>(0, step - from)));
  for (std::size_t head = 4; head < 8; ++head) fractions[head] = share;
  return fractions;
}

TEST(CascadeRule, CatchesTheNextLayerWhileItFalls) {
  RunPolicy policy(CascadeOnly(), kShape);
  std::optional<domain::Verdict> verdict;
  std::int64_t step = 1;
  for (; step <= 200 && !verdict.has_value(); ++step) verdict = policy.Observe(1, SampleAt(step, Falling(step, 40, 0.02)));
  ASSERT_TRUE(verdict.has_value());
  EXPECT_EQ(verdict->rule, "collapse.cascade");
  // From step 60 on layer 1 (0.2) reaches 0.05 within the ten steps ahead; before, its line of the last ten steps does not. Twenty later.
  EXPECT_EQ(verdict->steps, (std::vector<std::int64_t>{58, 78}));
  EXPECT_EQ(verdict->layers, (std::vector<std::int32_t>{1, 2}));
  EXPECT_EQ(verdict->limit, 2.0);
}

// A window that is longer than what is remembered of it: the same course, a thousand times slower.
TEST(CascadeRule, ALongRunIsJudgedAsAShortOne) {
  HealthRules rules = CascadeOnly();
  rules.collapse.cascade_steps = 20'000;
  RunPolicy policy(rules, kShape);
  std::optional<domain::Verdict> verdict;
  for (std::int64_t step = 1; step <= 100'000 && !verdict.has_value(); ++step) {
    verdict = policy.Observe(1, SampleAt(step, Falling(step, 40'000, 0.000'02)));
  }
  ASSERT_TRUE(verdict.has_value());
  EXPECT_NEAR(static_cast<double>(verdict->steps.front()), 57'500.0, 1'000.0);
  EXPECT_EQ(verdict->steps.back(), verdict->steps.front() + 20'000);
  EXPECT_EQ(verdict->layers, (std::vector<std::int32_t>{1, 2}));
}

TEST(CascadeRule, OneLayerThatIsGoneIsNoCascade) {
  RunPolicy policy(CascadeOnly(), kShape);
  for (std::int64_t step = 1; step <= 300; ++step) {
    EXPECT_FALSE(policy.Observe(1, SampleAt(step, Falling(step, 40, 0.0))).has_value()) << step;
  }
}

TEST(CascadeRule, LayersThatFallAndNoneIsGone) {
  RunPolicy policy(CascadeOnly(), kShape);
  for (std::int64_t step = 1; step <= 300; ++step) {
    // Both fall slowly to 0.06 and stay there.
    const double share = std::max(0.06, 0.6 - 0.002 * static_cast<double>(step));
    std::vector<double> fractions(12, share);
    EXPECT_FALSE(policy.Observe(1, SampleAt(step, fractions)).has_value()) << step;
  }
}

}  // namespace
}  // namespace entrain::policy
