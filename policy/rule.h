// One health rule: what a RunPolicy is made of. A rule sees the samples of one run in step order and may be rewound.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "domain/run_state.h"
#include "domain/sample.h"
#include "policy/policy.h"

namespace entrain::policy {

class Rule {
 public:
  virtual ~Rule() = default;
  // The verdict without its attempt. After it the rule is not asked again, unless rewound to before the verdict's step.
  virtual std::optional<domain::Verdict> Observe(const domain::EntropySample& sample) = 0;
  // As if no sample after `step` had been seen.
  virtual void RewindTo(std::int64_t step) = 0;
};

// Fires at the first sample whose loss, gradient norm, score or entropy is not finite: "non_finite.loss", "non_finite.grad_norm",
// "non_finite.score", "non_finite.entropy", in this order.
std::unique_ptr<Rule> MakeNonFiniteRule(const RunShape& shape);

// "collapse.whole_layer" and "collapse.share_of_heads". A head is collapsed at a sample while its entropy is below
// below_fraction_of_bound * U. The condition (every head of one layer; at least the share of all heads) must hold without a break:
// an episode begins with the first sample at which it holds and ends with the first at which it does not. Its counted observations
// are the first sample, then always the first that lies at least min_gap_steps after the last counted one; the rule fires at the
// `observations`-th. A head whose entropy is not finite is not collapsed.
std::unique_ptr<Rule> MakeCollapseRule(const domain::CollapseRule& rule, const RunShape& shape);

}  // namespace entrain::policy
