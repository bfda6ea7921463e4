// Snapshot -> plan. Runs go by turn (index.h): priority, then those that waited too long, then the owner's fair share, then
// submission. The first that fits nowhere keeps the machines it will fit on soonest; whatever comes after it may use only the rest
// (backfill), so that small runs never starve a large gang. Which gang is the first changes with the owners' shares; one that has waited
// too long at the head of its class is aged by the core, and then nothing of its priority goes first any more.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "coordinator/scheduler/index.h"
#include "domain/fleet.h"

namespace entrain::scheduler {

struct Placement {
  Request request;
  domain::Gang gang;
};
inline constexpr std::size_t kMaxWaitingListed = 64;
struct Plan {
  std::vector<Placement> placements;
  // The first waiting run of every class that was tried and not placed, in order; at most as many as were asked for.
  std::vector<Request> waiting;
  // Something was tried and not placed, listed or not.
  bool waits = false;
  // The limit was reached: plan again.
  bool more = false;
};

// Listing costs as much as planning: who does not look at `waiting` asks for none.
Plan MakePlan(const Index& index, std::size_t max_placements, std::size_t max_listed = kMaxWaitingListed);

// Why a run waits, with numbers that are true for this snapshot. `name` gives a run's name for people.
struct WaitReason {
  bool never = false;
  std::string text;
};
using RunNames = std::function<std::string(const RunId&)>;
WaitReason Explain(const Index& index, const Request& request, const RunNames& name);
// For a gang that nobody queued yet. Empty text: it could start on an idle fleet.
WaitReason ExplainFit(const Fleet& fleet, const Shape& shape);

}  // namespace entrain::scheduler
