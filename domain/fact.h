// Facts: what was decided. Facts are durable before anyone hears of them; the state is the sum of all facts.
#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "base/ids.h"
#include "domain/fleet.h"
#include "domain/run_state.h"
#include "domain/sample.h"
#include "domain/sweep.h"

namespace entrain::domain {

struct SweepAdmitted {
  SweepId sweep;
  std::string idempotency_key;
  SweepSpec spec;  // its runs are created Queued, generation 1, in order; their ids follow from MakeRunId
};
// The next generation of a cell, Queued.
struct RunRetried {
  RunId previous;
  RunId run;
  std::string by;
};
struct WorkerRegistered {
  WorkerInfo info;
  std::uint64_t incarnation = 0;
};
// Its slots are not given out until it reports again.
struct WorkerSilent {
  WorkerId worker;
};
struct WorkerDraining {
  WorkerId worker;
  bool draining = false;
};
// Queued -> Starting under a new attempt number.
struct RunPlaced {
  AttemptKey key;
  Gang gang;
  // Where it starts from; path empty: from step 0.
  Checkpoint resume_from;
};
// Starting -> Running.
struct RunStarted {
  AttemptKey key;
};
struct CheckpointRecorded {
  RunId run;
  Checkpoint checkpoint;
};
enum class StopKind { kHalt, kCancel, kPause, kPreempt };
// -> Stopping. The reason is one sentence with its numbers.
struct StopDecided {
  AttemptKey key;
  StopKind kind = StopKind::kCancel;
  std::string reason;
};
struct VerdictRecorded {
  RunId run;
  Verdict verdict;
};
// The attempt is over on its machines; its slots are free. The run's next state is a fact of its own.
struct AttemptClosed {
  AttemptKey key;
  AttemptEnd end;
};
// -> Queued, from the newest checkpoint.
struct RunRequeued {
  RunId run;
  FailureClass failure = FailureClass::kNone;
  bool counts_as_failure = false;
  std::string reason;
};
struct RunPaused {
  RunId run;
  std::string reason;
};
struct RunResumed {
  RunId run;
  std::string by;
};
// -> a final state; never changes afterwards.
struct RunFinished {
  RunId run;
  RunState state = RunState::kFailed;
  HaltReason halt_reason = HaltReason::kNone;
  FailureClass failure = FailureClass::kNone;
  std::string reason;
  // The step whose results count.
  std::int64_t result_step = 0;
  // False when its host was lost before its last samples were judged.
  bool fully_judged = true;
};
// Why a queued run waits; stored when it changes. `never`: no worker now known could ever hold it.
struct WaitReasonChanged {
  RunId run;
  bool never = false;
  std::string reason;
};

struct Fact {
  std::int64_t at_ms = 0;
  std::int64_t wall_ms = 0;
  std::variant<SweepAdmitted, RunRetried, WorkerRegistered, WorkerSilent, WorkerDraining, RunPlaced, RunStarted,
               CheckpointRecorded, StopDecided, VerdictRecorded, AttemptClosed, RunRequeued, RunPaused, RunResumed,
               RunFinished, WaitReasonChanged>
      body;
};

// The id of a cell's run in a sweep: a hash, so that every replica and every replay gives the same one.
RunId MakeRunId(const SweepId& sweep, const CellId& cell, std::int64_t generation);

}  // namespace entrain::domain
