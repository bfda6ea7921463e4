// Where a step's CPU time goes, by operator: torch's own and what this program marks with RECORD_FUNCTION.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace entrain::bench {

struct OperatorShare {
  std::string name;
  double share = 0.0;  // of the process's CPU time while `work` ran; an operator's own time, without those it calls
  double calls_a_step = 0.0;
};

// Runs `work`, which does `steps` steps. Largest share first; "outside operators" is the rest.
std::vector<OperatorShare> TimeOperators(const std::function<void()>& work, std::int64_t steps);

}  // namespace entrain::bench
