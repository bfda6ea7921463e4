#include "coordinator/retention/healthy.h"

#include <algorithm>
#include <cmath>

namespace entrain::retention {
namespace {

std::int64_t Sustained(std::int64_t at_least, double fraction, std::int64_t steps) {
  return std::max(at_least, static_cast<std::int64_t>(std::ceil(fraction * static_cast<double>(steps))));
}

template <typename Rule>
bool Ends(const Rule& rule) {
  return rule.enabled && domain::EndsRun(rule.action);
}

}  // namespace

std::int64_t WindowSteps(const domain::HealthRules& rules, std::int64_t steps) {
  std::int64_t window = 0;
  const auto at_least = [&](std::int64_t some) { window = std::max(window, some); };
  if (Ends(rules.collapse)) {
    at_least((rules.collapse.observations - 1) * Sustained(rules.collapse.min_gap_steps, rules.collapse.min_gap_fraction, steps));
    at_least(Sustained(rules.collapse.cascade_steps, rules.collapse.cascade_fraction, steps));
  }
  if (Ends(rules.overload)) at_least(Sustained(rules.overload.sustained_steps, rules.overload.sustained_fraction, steps));
  if (Ends(rules.spike)) at_least(rules.spike.observations);
  if (Ends(rules.divergence)) {
    at_least(rules.divergence.window_steps + Sustained(rules.divergence.sustained_steps, rules.divergence.sustained_fraction, steps));
  }
  if (Ends(rules.plateau)) {
    at_least(rules.plateau.window_steps + Sustained(rules.plateau.sustained_steps, rules.plateau.sustained_fraction, steps));
  }
  if (Ends(rules.max_score)) at_least(Sustained(rules.max_score.sustained_steps, rules.max_score.sustained_fraction, steps));
  return window;
}

const domain::Checkpoint* NewestHealthy(const core::Run& run, std::int64_t judged_step) {
  const std::int64_t window = WindowSteps(run.spec->health, run.spec->steps);
  const domain::Checkpoint* healthy = nullptr;
  for (const domain::Checkpoint& checkpoint : run.checkpoints) {
    if (checkpoint.step + window <= judged_step) healthy = &checkpoint;
  }
  return healthy;
}

}  // namespace entrain::retention
