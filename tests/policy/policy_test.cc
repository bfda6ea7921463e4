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

TEST(RunPolicy, ARewindTakesAVerdictBackAndTheSuccessorGivesItAgain) {
  RunPolicy policy(HealthRules{}, kRunShape);
  EntropySample bad = SampleAt(30, kHealthyHeads, 64);
  bad.loss = std::nan("");
  ASSERT_TRUE(policy.Observe(1, bad).has_value());
  policy.RewindTo(30);
  bad.step = 31;
  EXPECT_FALSE(policy.Observe(2, bad).has_value()) << "the verdict at step 30 still stands";
  policy.RewindTo(20);
  bad.step = 30;
  const auto again = policy.Observe(2, bad);
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->attempt, 2U);
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
  rules.collapse.min_gap_steps = 6;
  rules.collapse.share_of_heads = 0.75;
  int fired = 0;
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    Rng rng(seed, 1);
    const std::vector<EntropySample> samples = RandomStream(&rng);
    RunPolicy plain(rules, kRunShape);
    const auto expected = Feed(&plain, 1, samples);
    fired += expected.has_value() ? 1 : 0;

    // The same run with a few restarts: other samples in between are replaced.
    RunPolicy rewound(rules, kRunShape);
    std::optional<Verdict> last;
    std::size_t next = 0;
    for (int restart = 0; restart < 4; ++restart) {
      const std::size_t until = restart == 3 ? samples.size() : next + rng.Below(samples.size() - next + 1);
      for (; next < until; ++next) {
        if (auto verdict = rewound.Observe(1, samples[next])) last = verdict;
      }
      if (restart == 3) break;
      const std::int64_t step = next == 0 ? 0 : samples[next - 1].step;
      for (std::int64_t other = step + 1; other <= step + 30; ++other) {
        rewound.Observe(1, SampleAt(other, {rng.Uniform() * 0.1, 0.01, 0.01, rng.Uniform() * 0.1}, 64));
      }
      next = rng.Below(next + 1);
      const std::int64_t resume = next == 0 ? 0 : samples[next - 1].step;
      rewound.RewindTo(resume);
      if (last.has_value() && last->step > resume) last.reset();
    }
    EXPECT_EQ(last, expected) << "seed " << seed;
  }
  EXPECT_GT(fired, 100);
  EXPECT_LT(fired, 400);
}

}  // namespace
}  // namespace entrain::policy
