// What the keeper of a pool sees of the coordinator's state.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "coordinator/core/state.h"
#include "coordinator/pool/plan.h"

namespace entrain::server {

// Runs that could start if there were machines, in the order in which they would; of each class of runs at most the first 5,000.
std::vector<pool::Waiting> WaitingRuns(const core::State& state);

// Workers by name. Of two with one name the one that is connected, else the one that registered last.
std::map<std::string, const core::Worker*> WorkersByName(const core::State& state);

// Who asks for a pool's workers to get nothing new, and why; a worker's quarantine shows it, also after a restart.
std::string KeeperOf(const std::string& pool);
inline constexpr char kHoldReason[] = "no run needs its machine, which is given back";
bool IsHeld(const core::Worker& worker, const std::string& pool);

}  // namespace entrain::server
