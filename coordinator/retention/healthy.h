// Which checkpoint of a run that trains is known to be healthy.
#pragma once

#include <cstdint>

#include "coordinator/core/state.h"

namespace entrain::retention {

// Steps between the first sample that a rule which ends the run may rest on and the one at which it fires.
std::int64_t WindowSteps(const domain::HealthRules& rules, std::int64_t steps);

// The newest checkpoint whose following window was judged (everything up to `judged_step` was) and found clean; nullptr: none yet.
const domain::Checkpoint* NewestHealthy(const core::Run& run, std::int64_t judged_step);

}  // namespace entrain::retention
