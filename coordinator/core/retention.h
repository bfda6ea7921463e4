// Which checkpoints must stay, whatever retention wants. Pure; read by the core, which refuses to retire them, and by whoever plans.
#pragma once

#include <string>

#include "coordinator/core/state.h"

namespace entrain::core {

// Why this checkpoint, one of the run's list, is needed; empty: it may be retired.
std::string WhyNeeded(const State& state, const Run& run, const domain::Checkpoint& checkpoint);

// The newest checkpoint from before the first sample that the run's verdict rests on; path empty: none, so from the start.
domain::Checkpoint LastHealthy(const Run& run);

// Why the run could not go on from where it forked off; empty: it can, or never forked.
std::string WhyForkIsGone(const State& state, const Run& run);

}  // namespace entrain::core
