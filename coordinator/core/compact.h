// A shorter list of facts that gives the same state: what a snapshot holds.
#pragma once

#include <vector>

#include "coordinator/core/state.h"
#include "domain/fact.h"

namespace entrain::core {

// `facts` are all since the beginning, or a compacted list followed by those since. Applying the result gives an equal state, derived
// parts included. `config` is the one that the result will be applied with: its bounds say what the state keeps.
std::vector<domain::Fact> CompactFacts(std::vector<domain::Fact> facts, const CoreConfig& config);

}  // namespace entrain::core
