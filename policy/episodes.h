// When a condition held, one unbroken episode at a time: the memory of a rule that asks for a condition sustained over several
// observations.
#pragma once

#include <cstdint>
#include <vector>

namespace entrain::policy {

class Episodes {
 public:
  struct Episode {
    std::vector<std::int64_t> counted_steps;
    std::vector<double> values;  // at each counted step
  };

  // Both at least 1, smaller values count as 1.
  Episodes(std::int64_t observations, std::int64_t min_gap_steps);

  // The next sample in step order: whether the condition holds there, and the value it was judged by. The episode that has just
  // reached the number of observations, or nullptr; valid until the next call.
  const Episode* Observe(std::int64_t step, bool holds, double value);

 private:
  std::int64_t observations_;
  std::int64_t min_gap_steps_;
  Episode episode_;  // no steps: none is open
};

}  // namespace entrain::policy
