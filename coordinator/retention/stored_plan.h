// Which samples and log lines may go. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "coordinator/core/state.h"
#include "coordinator/retention/limits.h"
#include "coordinator/store/store.h"

namespace entrain::retention {

struct StoredPlan {
  struct Thin {
    RunId run;
    std::int64_t every = 0;
    std::vector<std::int64_t> steps;  // that stay whatever `every` says, ascending; whoever carries it out adds the last sample and the result's
    std::string why;
    std::int64_t freed_bytes = 0;  // about
  };
  struct Trim {
    RunId run;
    std::int64_t keep_bytes = 0;
    std::string why;
    std::int64_t freed_bytes = 0;  // about
  };
  std::vector<Thin> thin;
  std::vector<Trim> trim;
  // Beyond the quotas, all of sweeps that have not ended.
  std::int64_t samples_over_bytes = 0;
  std::int64_t logs_over_bytes = 0;
};

StoredPlan PlanStored(const core::State& state, const Limits& limits, std::int64_t now_wall_ms, const std::map<RunId, store::Usage>& usage);

}  // namespace entrain::retention
