// Which runs of a lower priority make room for a gang that goes first and fits nowhere. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "coordinator/scheduler/index.h"

namespace entrain::scheduler {

// A run that may be stopped.
struct Victim {
  RunId run;
  std::int64_t priority = 0;
  std::int64_t slots_here = 0;  // on the machine in question
  std::int64_t ran_ms = 0;      // since its gang was up
};

// A machine that passes every filter but free_enough.
struct Occupied {
  WorkerId worker;
  Pool pool;
  std::int64_t free = 0;    // now, and
  std::int64_t ending = 0;  // as soon as what is being stopped there is gone
  std::vector<Victim> victims;
  bool has_peers = true;
};

struct Preemption {
  std::vector<RunId> victims;  // empty: what is being stopped already makes enough room
  std::vector<WorkerId> machines;
};

// One machine if one can hold the gang, else the fewest. Of all ways the one that stops runs of the lowest priority, then the fewest runs,
// then those that ran the shortest. nullopt: stopping all victims would not be enough.
std::optional<Preemption> ChoosePreemption(std::vector<Occupied> machines, const Shape& shape);

}  // namespace entrain::scheduler
