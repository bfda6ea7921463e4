// One health rule: what a RunPolicy is made of. A rule sees the samples of one run in step order; to judge another course of the run it
// is made anew and fed from the first sample.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>

#include "domain/health_rules.h"
#include "domain/run_state.h"
#include "domain/sample.h"
#include "policy/policy.h"

namespace entrain::policy {

class Rule {
 public:
  virtual ~Rule() = default;
  // The verdict without its attempt and action. After it the rule is not asked again.
  virtual std::optional<domain::Verdict> Observe(const domain::EntropySample& sample) = 0;
};

// So many steps, or so large a share of the run's where that is more.
inline std::int64_t AtLeastSteps(std::int64_t steps, double fraction, const RunShape& shape) {
  return std::max(steps, static_cast<std::int64_t>(std::ceil(fraction * static_cast<double>(shape.steps))));
}

// Fires at the first sample whose loss, gradient norm, score or entropy is not finite: "non_finite.loss", "non_finite.grad_norm",
// "non_finite.score", "non_finite.entropy", in this order.
std::unique_ptr<Rule> MakeNonFiniteRule(const RunShape& shape);

// "collapse.whole_layer", "collapse.share_of_heads". A head is collapsed at a sample while its entropy is below
// below_fraction_of_bound * U. The condition (every head of one layer; at least the share of all heads) must hold without a break:
// an episode begins with the first sample at which it holds and ends with the first at which it does not. Its counted observations
// are the first sample, then always the first that lies at least the gap after the last counted one; the rule fires at the
// `observations`-th. A head whose entropy is not finite is not collapsed.
std::unique_ptr<Rule> MakeCollapseRule(const domain::CollapseRule& rule, const RunShape& shape);
// "collapse.cascade": layers that are gone or fall towards it (domain::CollapseRule).
std::unique_ptr<Rule> MakeCascadeRule(const domain::CollapseRule& rule, const RunShape& shape);

std::unique_ptr<Rule> MakeOverloadRule(const domain::OverloadRule& rule, const RunShape& shape);    // "overload"
std::unique_ptr<Rule> MakeSpikeRule(const domain::SpikeRule& rule);                                 // "spike"
std::unique_ptr<Rule> MakeDivergenceRule(const domain::DivergenceRule& rule, const RunShape& shape);  // "divergence"
std::unique_ptr<Rule> MakePlateauRule(const domain::PlateauRule& rule, const RunShape& shape);      // "plateau"
std::unique_ptr<Rule> MakeScoreRule(const domain::ScoreRule& rule, const RunShape& shape);          // "max_score"

}  // namespace entrain::policy
