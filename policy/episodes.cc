#include "policy/episodes.h"

#include <algorithm>

namespace entrain::policy {

Episodes::Episodes(std::int64_t observations, std::int64_t min_gap_steps)
    : observations_(std::max<std::int64_t>(1, observations)), min_gap_steps_(std::max<std::int64_t>(1, min_gap_steps)) {}

const Episodes::Episode* Episodes::Observe(std::int64_t step, bool holds, double value) {
  const bool open = !episodes_.empty() && !episodes_.back().ended_at_step.has_value();
  if (!holds) {
    if (open) episodes_.back().ended_at_step = step;
    return nullptr;
  }
  if (!open) episodes_.emplace_back();
  Episode& episode = episodes_.back();
  const std::vector<std::int64_t>& counted = episode.counted_steps;
  if (static_cast<std::int64_t>(counted.size()) >= observations_) return nullptr;
  if (!counted.empty() && step - counted.back() < min_gap_steps_) return nullptr;
  episode.counted_steps.push_back(step);
  episode.values.push_back(value);
  return static_cast<std::int64_t>(counted.size()) == observations_ ? &episode : nullptr;
}

void Episodes::RewindTo(std::int64_t step) {
  while (!episodes_.empty() && episodes_.back().counted_steps.front() > step) episodes_.pop_back();
  if (episodes_.empty()) return;
  Episode& last = episodes_.back();
  if (last.ended_at_step.has_value() && *last.ended_at_step > step) last.ended_at_step.reset();
  while (last.counted_steps.back() > step) {
    last.counted_steps.pop_back();
    last.values.pop_back();
  }
}

}  // namespace entrain::policy
