// Names that people type -> runs and sweeps. NOT_FOUND when nothing has the name, INVALID_ARGUMENT when several have.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/core/state.h"

namespace entrain::rpc {

// "last", an id, or a prefix that only one has. The pointers live as long as the state.
absl::StatusOr<const core::Sweep*> FindSweep(const core::State& state, std::string_view text);

// An id, a label of the newest sweep (its newest generation), or a prefix of an id that only one has.
absl::StatusOr<const core::Run*> FindRun(const core::State& state, std::string_view text);

// An id, a host's name that only one has, or a prefix of an id that only one has.
absl::StatusOr<const core::Worker*> FindWorker(const core::State& state, std::string_view text);

// One run, or the newest generations of all runs of a sweep.
struct Targets {
  bool is_sweep = false;
  std::vector<const core::Run*> runs;
};
absl::StatusOr<Targets> FindTargets(const core::State& state, std::string_view text);

// nullptr while there is none.
const core::Sweep* NewestSweep(const core::State& state);

}  // namespace entrain::rpc
