// Whether what the runs came to follows from their stored samples.
#pragma once

#include "coordinator/core/state.h"
#include "coordinator/store/store.h"
#include "sim/stage.h"

namespace entrain::sim {

// Every step of a run that ended belongs to the last attempt that trained it, and the verdict (or that there is none) is what a fresh
// policy says of those samples.
void CheckResults(const core::State& state, store::SampleStore* samples, Stage* stage);

}  // namespace entrain::sim
