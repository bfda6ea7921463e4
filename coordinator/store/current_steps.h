// Which steps of which attempt are a run's current ones.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/ids.h"

namespace entrain::store {

// Steps in (after, through] of `attempt`.
struct StepRange {
  AttemptNumber attempt = 0;
  std::int64_t after = 0;
  std::int64_t through = 0;
};

// `resume_steps` by attempt. An attempt that resumed from step s replaces all later steps of earlier ones. The ranges are in step order
// and do not overlap; empty ones are left out.
std::vector<StepRange> CurrentRanges(const std::map<AttemptNumber, std::int64_t>& resume_steps);

// "-1,1,47,100", as SQL lists numbers, which has no way to list none; no step is -1.
std::string StepList(const std::vector<std::int64_t>& steps);

}  // namespace entrain::store
