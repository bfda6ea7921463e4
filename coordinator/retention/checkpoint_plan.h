// Which checkpoints may go, and which sweeps are released by age. Pure: a plan is only a wish, the core refuses what is needed.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/core/state.h"
#include "coordinator/retention/limits.h"
#include "domain/event.h"

namespace entrain::retention {

struct CheckpointPlan {
  std::vector<domain::RetireCheckpoints> retire;
  std::vector<SweepId> release;
  std::int64_t freed_bytes = 0;  // by `retire`
  // The quota is exceeded by so much even when all that may go has gone.
  std::int64_t over_quota_bytes = 0;
};

// Up to which step a run that trains was judged; 0 where that is not known.
using JudgedStep = std::function<std::int64_t(const RunId& run)>;

// `used_bytes` is what the artifact root holds; of that `leaving_bytes` are on their way out already.
CheckpointPlan PlanCheckpoints(const core::State& state, const Limits& limits, std::int64_t now_wall_ms, std::int64_t used_bytes,
                               std::int64_t leaving_bytes, const JudgedStep& judged);

// Sweeps without unfinished runs, the longest over first.
struct FinishedSweep {
  std::int64_t finished_wall_ms = 0;
  const core::Sweep* sweep = nullptr;
};
std::vector<FinishedSweep> FinishedSweeps(const core::State& state);
// Every run of the sweep: the newest generations and those before.
std::vector<const core::Run*> RunsOf(const core::State& state, const core::Sweep& sweep);

}  // namespace entrain::retention
