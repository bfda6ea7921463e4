// When a condition held, as a list of episodes that can be rewound: the memory of a rule that asks for a condition sustained over
// several observations.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace entrain::policy {

class Episodes {
 public:
  struct Episode {
    std::vector<std::int64_t> counted_steps;
    std::vector<double> values;  // at each counted step
    std::optional<std::int64_t> ended_at_step;  // the sample that broke it
  };

  // Both at least 1, smaller values count as 1.
  Episodes(std::int64_t observations, std::int64_t min_gap_steps);

  // The next sample in step order: whether the condition holds there, and the value it was judged by. The episode that has just
  // reached the number of observations, or nullptr; valid until the next call.
  const Episode* Observe(std::int64_t step, bool holds, double value);
  void RewindTo(std::int64_t step);

 private:
  std::int64_t observations_;
  std::int64_t min_gap_steps_;
  std::vector<Episode> episodes_;
};

}  // namespace entrain::policy
