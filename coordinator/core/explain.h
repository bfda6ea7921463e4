// Why a run waits, with numbers that are true now. Pure reads of a published State.
#pragma once

#include "base/ids.h"
#include "coordinator/core/state.h"

namespace entrain::core {

// For a Queued run: "needs 2 slots on one machine; 0 of 2 are free; 3 runs go first". Empty reason for any other.
Wait DescribeWait(const State& state, const RunId& run);

// Whether a gang of these resources could ever run on the workers now known: what submit warns about and --strict refuses. `never`
// is false while no worker has joined.
Wait DescribeFit(const State& state, const domain::Resources& resources);

}  // namespace entrain::core
