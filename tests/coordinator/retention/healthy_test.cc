#include "coordinator/retention/healthy.h"

#include <gtest/gtest.h>

#include "tests/coordinator/retention/state_maker.h"

namespace entrain::retention {
namespace {

TEST(HealthyTest, TheWindowIsThatOfTheSlowestRuleThatEndsTheRun) {
  domain::HealthRules rules;
  rules.collapse.enabled = rules.divergence.enabled = rules.non_finite.enabled = false;
  EXPECT_EQ(WindowSteps(rules, 1000), 0);
  rules.collapse.enabled = true;
  rules.collapse.observations = 3;
  rules.collapse.min_gap_steps = 50;
  rules.collapse.min_gap_fraction = 0.15;
  EXPECT_EQ(WindowSteps(rules, 1000), 300);
  EXPECT_EQ(WindowSteps(rules, 100), 100);
  // One that only says so ends nothing.
  rules.overload.sustained_steps = 5'000;
  EXPECT_EQ(WindowSteps(rules, 1000), 300);
  rules.overload.action = domain::RuleAction::kStop;
  EXPECT_EQ(WindowSteps(rules, 1000), 5'000);
}

TEST(HealthyTest, ACheckpointIsHealthyOnceItsWindowIsJudged) {
  StateMaker maker;
  const RunId run = maker.Start("s1", 1000);
  for (const std::int64_t step : {100, 200, 300}) maker.Checkpoint(run, step);
  const std::int64_t window = WindowSteps(maker.run(run).spec->health, 1000);
  ASSERT_GT(window, 0);
  EXPECT_EQ(NewestHealthy(maker.run(run), 100 + window - 1), nullptr);
  EXPECT_EQ(NewestHealthy(maker.run(run), 100 + window)->step, 100);
  EXPECT_EQ(NewestHealthy(maker.run(run), 299 + window)->step, 200);
  EXPECT_EQ(NewestHealthy(maker.run(run), 1000 + window)->step, 300);
}

}  // namespace
}  // namespace entrain::retention
