// Successive halving over the runs of one sweep: a run that has trained as far as a rung is compared with the others that have, and only
// the best 1/reduction_factor train on; the rest wait at a checkpoint, and end as Pruned when no others can come any more.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace entrain::domain {

// kAsync: the best of those that have reported so far go on at once (ASHA). kSync: nobody goes on before every run of the sweep has
// reported at the rung or ended, so that the outcome does not depend on timing.
enum class Halving { kNone, kAsync, kSync };
// Smaller is better. kEvalLoss: the first held-out evaluation at or after the rung's step. kTrainLoss: mean of the last
// `window_steps` steps up to the rung's.
enum class RungMetric { kEvalLoss, kTrainLoss };

struct EarlyStopping {
  Halving method = Halving::kNone;
  RungMetric metric = RungMetric::kEvalLoss;
  // The first rung; the others follow at min_steps * reduction_factor, * reduction_factor^2, ... below the run's last step.
  std::int64_t min_steps = 0;
  std::int64_t reduction_factor = 3;
  std::int64_t window_steps = 20;
  friend bool operator==(const EarlyStopping&, const EarlyStopping&) = default;
};

// Steps of the rungs of a run of `steps` steps.
std::vector<std::int64_t> RungSteps(const EarlyStopping& rule, std::int64_t steps);

enum class RungOutcome { kNone, kHeld, kPromoted, kPruned };

// What a run reported at a rung and what became of it there.
struct Rung {
  std::int64_t step = 0;  // of the value
  double value = 0.0;     // may be NaN, which is worse than any number
  RungOutcome outcome = RungOutcome::kNone;
  std::string reason;
};

std::string ToString(RungOutcome outcome);  // "", "held", "promoted", "pruned"
std::string ToString(RungMetric metric);    // "eval_loss", "train_loss"
std::string ToString(Halving method);       // "none", "asha", "sha"

}  // namespace entrain::domain
