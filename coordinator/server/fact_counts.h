// What metrics learn of decided facts: verdicts, ends, and how long runs wait for their place and their gang.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "coordinator/core/state.h"
#include "domain/fact.h"
#include "metrics/coordinator_metrics.h"

namespace entrain::server {

// One thread. Times are the facts' own; a wait that began before this process is not observed.
class FactCounts {
 public:
  // Facts of one batch, once they are durable; `state` has them.
  void Add(const std::vector<domain::Fact>& facts, const core::State& state, metrics::CoordinatorMetrics* metrics);

 private:
  void Queued(const RunId& run, std::int64_t at_ms) { queued_at_ms_[run] = at_ms; }
  void Gone(const RunId& run);

  std::map<RunId, std::int64_t> queued_at_ms_;
  std::map<RunId, std::int64_t> placed_at_ms_;
};

}  // namespace entrain::server
