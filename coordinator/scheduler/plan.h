// Snapshot -> plan. Runs go in order of priority, then of submission. The first that fits nowhere keeps the machines it will fit on
// soonest; whatever comes after it may use only the rest (backfill), so that small runs never starve a large gang.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "coordinator/scheduler/index.h"
#include "domain/fleet.h"

namespace entrain::scheduler {

struct Placement {
  Request request;
  domain::Gang gang;
};
struct Plan {
  std::vector<Placement> placements;
  // The first waiting run of every class that was tried and not placed.
  std::vector<Request> waiting;
  // The limit was reached: plan again.
  bool more = false;
};

Plan MakePlan(const Index& index, std::size_t max_placements);

// Why a run waits, with numbers that are true for this snapshot.
struct WaitReason {
  bool never = false;
  std::string text;
};
WaitReason Explain(const Index& index, const Request& request);
// For a gang that nobody queued yet. Empty text: it could start on an idle fleet.
WaitReason ExplainFit(const Fleet& fleet, const Shape& shape);

}  // namespace entrain::scheduler
