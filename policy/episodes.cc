#include "policy/episodes.h"

#include <algorithm>

namespace entrain::policy {

Episodes::Episodes(std::int64_t observations, std::int64_t min_gap_steps)
    : observations_(std::max<std::int64_t>(1, observations)), min_gap_steps_(std::max<std::int64_t>(1, min_gap_steps)) {}

const Episodes::Episode* Episodes::Observe(std::int64_t step, bool holds, double value) {
  if (!holds) {
    episode_ = Episode();
    return nullptr;
  }
  const std::vector<std::int64_t>& counted = episode_.counted_steps;
  if (static_cast<std::int64_t>(counted.size()) >= observations_) return nullptr;
  if (!counted.empty() && step - counted.back() < min_gap_steps_) return nullptr;
  episode_.counted_steps.push_back(step);
  episode_.values.push_back(value);
  return static_cast<std::int64_t>(counted.size()) == observations_ ? &episode_ : nullptr;
}

}  // namespace entrain::policy
