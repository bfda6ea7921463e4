#include "policy/policy.h"

#include <utility>

#include "policy/rule.h"

namespace entrain::policy {

struct RunPolicy::Impl {
  // In order of precedence at one sample.
  std::vector<std::unique_ptr<Rule>> rules;
  std::int64_t last_step = 0;
  std::optional<std::int64_t> fired_at_step;
};

RunPolicy::RunPolicy(const domain::HealthRules& rules, const RunShape& shape) : impl_(std::make_unique<Impl>()) {
  if (rules.non_finite.enabled) impl_->rules.push_back(MakeNonFiniteRule(shape));
  if (rules.collapse.enabled) impl_->rules.push_back(MakeCollapseRule(rules.collapse, shape));
}
RunPolicy::~RunPolicy() = default;
RunPolicy::RunPolicy(RunPolicy&&) noexcept = default;
RunPolicy& RunPolicy::operator=(RunPolicy&&) noexcept = default;

std::optional<domain::Verdict> RunPolicy::Observe(AttemptNumber attempt, const domain::EntropySample& sample) {
  // The lane may give a sample twice (sent again after an acknowledgement was lost).
  if (sample.step <= impl_->last_step) return std::nullopt;
  impl_->last_step = sample.step;
  if (impl_->fired_at_step.has_value()) return std::nullopt;
  for (const std::unique_ptr<Rule>& rule : impl_->rules) {
    std::optional<domain::Verdict> verdict = rule->Observe(sample);
    if (!verdict.has_value()) continue;
    impl_->fired_at_step = sample.step;
    verdict->attempt = attempt;
    return verdict;
  }
  return std::nullopt;
}

void RunPolicy::RewindTo(std::int64_t step) {
  if (step >= impl_->last_step) return;
  impl_->last_step = step;
  if (impl_->fired_at_step.has_value() && *impl_->fired_at_step > step) impl_->fired_at_step.reset();
  for (const std::unique_ptr<Rule>& rule : impl_->rules) rule->RewindTo(step);
}

}  // namespace entrain::policy
