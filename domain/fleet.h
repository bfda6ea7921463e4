// Workers, gangs, and what passes between a worker and the coordinator about attempts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"
#include "domain/run_state.h"
#include "domain/sample.h"

namespace entrain::domain {

struct AttemptKey {
  RunId run;
  AttemptNumber attempt = 0;
  std::string ToString() const { return run.value() + "." + std::to_string(attempt); }
  friend auto operator<=>(const AttemptKey&, const AttemptKey&) = default;
};

// The slots of one machine that a gang holds: indices into that worker's slots.
struct GangMember {
  WorkerId worker;
  std::vector<std::int32_t> slots;
  friend bool operator==(const GangMember&, const GangMember&) = default;
};

// All members or none. The first is the head: its worker launches.
struct Gang {
  std::vector<GangMember> members;
  friend bool operator==(const Gang&, const Gang&) = default;
};

enum class SlotKind { kCpu, kGpu };

// What a worker says of itself when it connects.
struct WorkerInfo {
  WorkerId id;
  std::string name;     // host name, for people
  std::string version;  // build id
  SlotKind slot_kind = SlotKind::kCpu;
  std::int32_t slots = 0;
  std::string device;   // e.g. the GPU model or the processor
  std::string peer_address;  // HOST:PORT of its peer service; empty: it takes no part in gangs over several machines
  friend bool operator==(const WorkerInfo&, const WorkerInfo&) = default;
};

// How an attempt ended, from its ranks' terminal records and the launcher's exit.
struct AttemptEnd {
  EndCause cause = EndCause::kCrashed;
  std::int64_t last_step = 0;
  std::string message;       // for people: which rank, which error
  std::int32_t exit_code = 0;
  // The last training loss and tokens of rank 0's record; 0 when there is none.
  double loss = 0.0;
  std::int64_t tokens = 0;
  friend bool operator==(const AttemptEnd&, const AttemptEnd&) = default;
};

enum class StopMode {
  kCheckpoint,  // finish the step, write a checkpoint, end
  kNow,         // end without a checkpoint
};

}  // namespace entrain::domain
