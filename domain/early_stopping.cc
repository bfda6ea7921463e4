#include "domain/early_stopping.h"

#include <limits>

namespace entrain::domain {

std::vector<std::int64_t> RungSteps(const EarlyStopping& rule, std::int64_t steps) {
  std::vector<std::int64_t> rungs;
  if (rule.method == Halving::kNone || rule.min_steps < 1 || rule.reduction_factor < 2) return rungs;
  for (std::int64_t step = rule.min_steps; step < steps; step *= rule.reduction_factor) {
    rungs.push_back(step);
    if (step > std::numeric_limits<std::int64_t>::max() / rule.reduction_factor) break;
  }
  return rungs;
}

std::string ToString(RungOutcome outcome) {
  switch (outcome) {
    case RungOutcome::kNone: return "";
    case RungOutcome::kHeld: return "held";
    case RungOutcome::kPromoted: return "promoted";
    case RungOutcome::kPruned: return "pruned";
  }
  return "";
}

std::string ToString(RungMetric metric) { return metric == RungMetric::kEvalLoss ? "eval_loss" : "train_loss"; }

std::string ToString(Halving method) {
  switch (method) {
    case Halving::kNone: return "none";
    case Halving::kAsync: return "asha";
    case Halving::kSync: return "sha";
  }
  return "";
}

}  // namespace entrain::domain
