// The seam to an engine that has machines to give: it lists, adds and takes back those of one pool. The engine is the only memory of
// what a pool holds, so that a coordinator that starts again asks it and neither doubles nor forgets a machine. Whatever an engine makes
// carries the pool's name and the coordinator's cluster name, and List shows nothing else.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ids.h"
#include "domain/fleet.h"

namespace entrain::pool {

// What every machine of a pool offers once its worker has registered.
struct MachineShape {
  domain::SlotKind kind = domain::SlotKind::kCpu;
  std::int32_t slots = 1;
  friend bool operator==(const MachineShape&, const MachineShape&) = default;
};

struct PoolLimits {
  std::string name;  // of the pool, for people; [a-z0-9-]
  MachineShape shape;
  std::int64_t min_machines = 0;
  std::int64_t max_machines = 1;
  // A machine beyond the minimum on which no slot was used for so long is given back.
  std::int64_t idle_ms = 300'000;
  // Machines come as one unit for one waiting gang, and go together; else one by one, for whatever waits.
  bool gang_shaped = false;
  // A gang may span its machines: their workers reach each other.
  bool peers = true;
  // That one gang may span, at most.
  std::int64_t MachinesOfAGang() const { return peers ? max_machines : 1; }
  // How often the engine is asked what there is.
  std::int64_t poll_ms = 5'000;
  friend bool operator==(const PoolLimits&, const PoolLimits&) = default;
};

struct PoolMachine {
  enum class State {
    kPending,  // asked for; the engine has not given it yet, or its worker has not started
    kUp,       // the engine says that it runs
    kLeaving,  // it is being given back or taken away
  };
  std::string id;           // the engine's: Slurm job (and node), pod
  std::string unit;         // machines of one unit are given back together or not at all; equal to `id` where each goes alone
  std::string worker_name;  // as its worker registers; empty: not known yet
  State state = State::kPending;
  std::string detail;       // for people: why it is pending or leaving, in the engine's words; may be empty
  friend bool operator==(const PoolMachine&, const PoolMachine&) = default;
};

// The waiting gang that machines are asked for.
struct GangRequest {
  RunId run;
  std::int64_t machines = 1;  // groups
  std::int64_t ranks = 1;     // slots of each
};

// One thread calls it. Every call ends by itself within a deadline of its own, and may block so long; an error is a Status with what the
// engine said: RESOURCE_EXHAUSTED or FAILED_PRECONDITION where it refuses, UNAVAILABLE where it does not answer.
class PoolProvider {
 public:
  virtual ~PoolProvider() = default;
  virtual const PoolLimits& limits() const = 0;
  // The engine, in a word: "slurm", "kubernetes".
  virtual std::string engine() const = 0;
  // Every machine of this pool that exists or was asked for. The same order every time; where CanReleaseAny is false, the last of them is
  // the first to go.
  virtual absl::StatusOr<std::vector<PoolMachine>> List() = 0;
  // Asks for so many more than List says. `gang`, when not null, is who they are for. After an error some of them may have been asked for;
  // the next List says which.
  virtual absl::Status Grow(std::int64_t machines, const GangRequest* gang) = 0;
  // Gives back whole units whose workers hold nothing and get nothing new. Their daemons are asked to end (SIGTERM), not killed. A
  // machine that is gone already is no error.
  virtual absl::Status Release(const std::vector<PoolMachine>& machines) = 0;
  // False where the engine alone chooses which go, from the end of List.
  virtual bool CanReleaseAny() const = 0;
  // Whether a worker that registers with this name is, or once was, a machine of this pool: names of machines that are gone are
  // taken off the fleet's list.
  virtual bool Owns(const std::string& worker_name) const = 0;
};

}  // namespace entrain::pool
