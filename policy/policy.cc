#include "policy/policy.h"

#include <utility>

#include "policy/rule.h"

namespace entrain::policy {
namespace {

struct ActiveRule {
  std::unique_ptr<Rule> rule;
  domain::RuleAction action;
};

std::vector<ActiveRule> MakeRules(const domain::HealthRules& rules, const RunShape& shape) {
  std::vector<ActiveRule> made;
  const auto add = [&](bool enabled, domain::RuleAction action, auto make) {
    if (enabled) made.push_back({make(), action});
  };
  // In order of precedence at one sample.
  add(rules.non_finite.enabled, rules.non_finite.action, [&] { return MakeNonFiniteRule(shape); });
  add(rules.collapse.enabled && rules.collapse.cascade_layers > 0, rules.collapse.action, [&] { return MakeCascadeRule(rules.collapse, shape); });
  add(rules.collapse.enabled, rules.collapse.action, [&] { return MakeCollapseRule(rules.collapse, shape); });
  add(rules.divergence.enabled, rules.divergence.action, [&] { return MakeDivergenceRule(rules.divergence, shape); });
  add(rules.max_score.enabled, rules.max_score.action, [&] { return MakeScoreRule(rules.max_score, shape); });
  add(rules.spike.enabled, rules.spike.action, [&] { return MakeSpikeRule(rules.spike); });
  add(rules.plateau.enabled, rules.plateau.action, [&] { return MakePlateauRule(rules.plateau, shape); });
  add(rules.overload.enabled, rules.overload.action, [&] { return MakeOverloadRule(rules.overload, shape); });
  return made;
}

}  // namespace

struct RunPolicy::Impl {
  std::vector<ActiveRule> rules;
  std::vector<domain::Verdict> notices;
  std::int64_t last_step = 0;
  bool ended = false;
};

RunPolicy::RunPolicy(const domain::HealthRules& rules, const RunShape& shape) : impl_(std::make_unique<Impl>()) {
  impl_->rules = MakeRules(rules, shape);
}
RunPolicy::~RunPolicy() = default;
RunPolicy::RunPolicy(RunPolicy&&) noexcept = default;
RunPolicy& RunPolicy::operator=(RunPolicy&&) noexcept = default;

std::optional<domain::Verdict> RunPolicy::Observe(AttemptNumber attempt, const domain::EntropySample& sample) {
  // The lane may give a sample twice (sent again after an acknowledgement was lost).
  if (sample.step <= impl_->last_step) return std::nullopt;
  impl_->last_step = sample.step;
  if (impl_->ended) return std::nullopt;
  std::optional<domain::Verdict> end;
  for (ActiveRule& active : impl_->rules) {
    std::optional<domain::Verdict> verdict = active.rule->Observe(sample);
    if (!verdict.has_value()) continue;
    verdict->attempt = attempt;
    verdict->action = active.action;
    active.rule.reset();
    if (domain::EndsRun(verdict->action)) {
      if (!end.has_value()) end = std::move(verdict);
    } else {
      impl_->notices.push_back(*std::move(verdict));
    }
  }
  std::erase_if(impl_->rules, [](const ActiveRule& active) { return active.rule == nullptr; });
  impl_->ended = end.has_value();
  return end;
}

std::vector<domain::Verdict> RunPolicy::TakeNotices() { return std::exchange(impl_->notices, {}); }

}  // namespace entrain::policy
