#include "policy/policy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/random.h"
#include "tests/policy/sample_stream.h"

namespace entrain::policy {
namespace {

using domain::EntropySample;
using domain::HealthRules;
using domain::Verdict;

constexpr RunShape kRunShape{.n_layer = 2, .n_head = 2, .context = 64, .steps = 400};
const std::vector<double> kHealthyHeads(4, 0.6);

TEST(NonFinite, FiresAtOnceAndSaysWhat) {
  RunPolicy policy(HealthRules{}, kRunShape);
  EntropySample sample = SampleAt(7, kHealthyHeads, 64);
  sample.loss = std::nan("");
  const auto verdict = policy.Observe(2, sample);
  ASSERT_TRUE(verdict.has_value());
  EXPECT_EQ(verdict->reason, domain::HaltReason::kNonFinite);
  EXPECT_EQ(verdict->rule, "non_finite.loss");
  EXPECT_EQ(verdict->step, 7);
  EXPECT_EQ(verdict->explanation, "the loss is nan at step 7");
}

TEST(NonFinite, LooksAtGradientsScoresAndEntropies) {
  EntropySample gradient = SampleAt(1, kHealthyHeads, 64);
  gradient.grad_norm = std::numeric_limits<double>::infinity();
  EXPECT_EQ(RunPolicy(HealthRules{}, kRunShape).Observe(1, gradient)->rule, "non_finite.grad_norm");
  EntropySample score = SampleAt(1, kHealthyHeads, 64);
  score.max_abs_score = {3.0F, std::numeric_limits<float>::infinity()};
  EXPECT_EQ(RunPolicy(HealthRules{}, kRunShape).Observe(1, score)->explanation,
            "layer 1: the largest attention score is inf at step 1");
  EntropySample entropy = SampleAt(1, kHealthyHeads, 64);
  entropy.entropy_nats[3] = std::nanf("");
  const auto verdict = RunPolicy(HealthRules{}, kRunShape).Observe(1, entropy);
  EXPECT_EQ(verdict->explanation, "layer 1 head 1: the entropy is nan at step 1 (1 of 4 heads not finite)");
  EXPECT_EQ(verdict->heads, std::vector<std::int32_t>{3});
}

TEST(NonFinite, CanBeDisabled) {
  HealthRules rules;
  rules.non_finite.enabled = false;
  EntropySample sample = SampleAt(1, kHealthyHeads, 64);
  sample.loss = std::nan("");
  EXPECT_FALSE(RunPolicy(rules, kRunShape).Observe(1, sample).has_value());
}

TEST(RunPolicy, GivesOneVerdictARunAndPassesOverRepeatedSteps) {
  RunPolicy policy(HealthRules{}, kRunShape);
  EntropySample bad = SampleAt(5, kHealthyHeads, 64);
  bad.loss = std::nan("");
  EXPECT_FALSE(policy.Observe(1, SampleAt(5, kHealthyHeads, 64)).has_value());
  EXPECT_FALSE(policy.Observe(1, bad).has_value()) << "step 5 was seen";
  bad.step = 6;
  EXPECT_TRUE(policy.Observe(1, bad).has_value());
  bad.step = 7;
  EXPECT_FALSE(policy.Observe(1, bad).has_value());
}

TEST(RunPolicy, AnEndGoesBeforeWhatComesLaterInTheOrder) {
  // At one sample the loss is not finite and a notice is due.
  HealthRules rules;
  rules.max_score.sustained_steps = 1;
  rules.max_score.sustained_fraction = 0.0;
  RunPolicy policy(rules, kRunShape);
  EntropySample sample = SampleAt(1, kHealthyHeads, 64);
  sample.max_abs_score = {1e6F, 1.0F};
  EXPECT_FALSE(policy.Observe(3, sample).has_value());
  EXPECT_TRUE(policy.TakeNotices().empty());
  sample.step = 2;
  sample.loss = std::nan("");
  EXPECT_EQ(policy.Observe(3, sample)->rule, "non_finite.loss");
  const std::vector<Verdict> notices = policy.TakeNotices();
  ASSERT_EQ(notices.size(), 1U);
  EXPECT_EQ(notices[0].rule, "max_score");
  EXPECT_EQ(notices[0].action, domain::RuleAction::kNotify);
  EXPECT_EQ(notices[0].attempt, 3U);
  EXPECT_EQ(notices[0].steps, (std::vector<std::int64_t>{1, 2}));
  EXPECT_TRUE(policy.TakeNotices().empty());
}

TEST(RunPolicy, ANoticeDoesNotEndTheRunAndComesOnce) {
  HealthRules rules;
  rules.collapse.action = domain::RuleAction::kNotify;
  rules.collapse.min_gap_fraction = 0.0;
  rules.collapse.min_gap_steps = 2;
  rules.collapse.cascade_layers = 0;
  RunPolicy policy(rules, kRunShape);
  std::vector<Verdict> notices;
  for (std::int64_t step = 1; step <= 50; ++step) {
    EXPECT_FALSE(policy.Observe(1, SampleAt(step, {0.6, 0.6, 0.0, 0.0}, 64)).has_value());
    for (Verdict& notice : policy.TakeNotices()) notices.push_back(std::move(notice));
  }
  ASSERT_EQ(notices.size(), 1U);
  EXPECT_EQ(notices[0].rule, "collapse.whole_layer");
  EXPECT_EQ(notices[0].step, 3);
}

// Random streams around the limit, with holes, so that episodes begin and end often.
std::vector<EntropySample> RandomStream(Rng* rng) {
  std::vector<EntropySample> samples;
  std::vector<bool> down(4, false);
  for (std::int64_t step = 1; step <= 120; ++step) {
    if (rng->Below(10) == 0) continue;
    std::vector<double> fractions;
    for (std::size_t head = 0; head < 4; ++head) {
      if (rng->Below(12) == 0) down[head] = !down[head];
      fractions.push_back(down[head] ? 0.01 : 0.3);
    }
    samples.push_back(SampleAt(step, fractions, 64));
    if (rng->Below(400) == 0) samples.back().grad_norm = std::numeric_limits<double>::infinity();
  }
  return samples;
}

TEST(RunPolicy, AVerdictIsAFunctionOfTheSamplesInStepOrderAlone) {
  HealthRules rules;
  rules.collapse.below_fraction_of_bound = 0.05;
  rules.collapse.min_gap_steps = 6;
  rules.collapse.min_gap_fraction = 0.0;
  rules.collapse.share_of_heads = 0.75;
  rules.collapse.cascade_layers = 0;
  int fired = 0;
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    Rng rng(seed, 1);
    const std::vector<EntropySample> samples = RandomStream(&rng);
    RunPolicy plain(rules, kRunShape);
    const auto expected = Feed(&plain, 1, samples);
    fired += expected.has_value() ? 1 : 0;
    // Sent again and again, as after lost acknowledgements.
    RunPolicy repeated(rules, kRunShape);
    std::optional<Verdict> last;
    for (std::size_t next = 0; next < samples.size(); ++next) {
      for (std::size_t back = next - std::min<std::size_t>(next, rng.Below(5)); back <= next; ++back) {
        if (auto verdict = repeated.Observe(1, samples[back])) last = verdict;
      }
    }
    EXPECT_EQ(last, expected) << "seed " << seed;
  }
  EXPECT_GT(fired, 100);
  EXPECT_LT(fired, 400);
}

}  // namespace
}  // namespace entrain::policy
