// Facts: what was decided. Facts are durable before anyone hears of them; the state is the sum of all facts.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "domain/early_stopping.h"
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
// Another run of the same sweep, Queued, with the settings of the halted run's `rescue` and from this checkpoint of it (path empty: from step 0).
struct RunRescued {
  RunId previous;
  RunId run;
  Checkpoint from;
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
// kPreempt: back to the queue. kRung: paused until early stopping promotes or prunes it.
enum class StopKind { kHalt, kCancel, kPause, kPreempt, kStall, kTimeLimit, kRung };
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
// The attempt is over for its run. The run's next state is a fact of its own. The slots on workers that report are free, unless the
// cause is kMachineLost: then, and on silent workers, each member's slots stay held until MemberReleased.
struct AttemptClosed {
  AttemptKey key;
  AttemptEnd end;
};
// A closed attempt holds nothing on this worker any more.
struct MemberReleased {
  AttemptKey key;
  WorkerId worker;
};
// A machine that was taken for lost came back with the run's attempt before a successor was placed: Queued -> Starting or Running.
struct AttemptReclaimed {
  AttemptKey key;
};
// -> Queued, from the newest checkpoint. After a lost machine its attempt stays current, hence accepted, until a successor is placed.
struct RunRequeued {
  RunId run;
  FailureClass failure = FailureClass::kNone;
  bool counts_as_failure = false;
  std::string reason;
  // Held back until this coordinator time (pause after a failure); 0: not.
  std::int64_t not_before_ms = 0;
};
struct RunPaused {
  RunId run;
  std::string reason;
  bool at_rung = false;  // by early stopping, not by people
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

// It waited too long at the head of its queue: nothing of its priority goes first any more, until it is placed.
struct RunAged {
  RunId run;
  std::string reason;
};
// Runs of lower priority are stopped for it: these machines are kept for it, and it goes first within its priority.
struct RunReserved {
  RunId run;
  std::vector<WorkerId> workers;
  std::string reason;
};
// Nothing is placed on the worker before `until_ms` of coordinator time (0: before it is released by people).
struct WorkerQuarantined {
  WorkerId worker;
  std::string reason;
  std::int64_t until_ms = 0;
};
struct WorkerReleased {
  WorkerId worker;
  std::string reason;
};
// It is gone for good, holds nothing and is not connected: the list of workers no longer names it. Should it come back, it is new.
struct WorkerForgotten {
  WorkerId worker;
  std::string by;
};
struct RungRecorded {
  RunId run;
  std::int64_t rung = 0;
  std::int64_t step = 0;
  double value = 0.0;
};
struct RungDecided {
  RunId run;
  std::int64_t rung = 0;
  RungOutcome outcome = RungOutcome::kNone;
  std::string reason;
};

// The run lists these checkpoints no longer; once this is durable their files may go.
struct CheckpointsRetired {
  RunId run;
  std::vector<Checkpoint> checkpoints;
  std::string reason;
};
// Nobody needs the finished sweep's results any more: its last and best checkpoints may be retired too.
struct SweepReleased {
  SweepId sweep;
  std::string by;
};
// Numbers up to `floor` may have been given out by a history that this store does not hold: no attempt gets one of them again, and
// nothing that still bears one is accepted.
struct AttemptFloorRaised {
  AttemptNumber floor = 0;
  std::string reason;
};

// Transient facts: they renew leases and say who is connected, are true only while this process lives and are never stored.
struct WorkerHeard {
  WorkerId worker;
  bool connected = true;
};
// Samples of the run arrived.
struct ProgressHeard {
  RunId run;
};
// The first decision of a process: every known worker gets one full lease from here.
struct TermStarted {};

struct Fact {
  std::int64_t at_ms = 0;
  std::int64_t wall_ms = 0;
  std::variant<SweepAdmitted, RunRetried, WorkerRegistered, WorkerSilent, WorkerDraining, RunPlaced, RunStarted,
               CheckpointRecorded, StopDecided, VerdictRecorded, AttemptClosed, RunRequeued, RunPaused, RunResumed,
               RunFinished, WaitReasonChanged, MemberReleased, AttemptReclaimed, RunAged, RunReserved, WorkerQuarantined, WorkerReleased,
               RungRecorded, RungDecided, RunRescued, WorkerForgotten, CheckpointsRetired, SweepReleased, AttemptFloorRaised, WorkerHeard, ProgressHeard, TermStarted>
      body;
};

// Whether the fact must not be stored (a journal leaves it out; a batch of nothing else needs no transaction).
inline bool IsTransient(const Fact& fact) {
  return std::holds_alternative<WorkerHeard>(fact.body) || std::holds_alternative<ProgressHeard>(fact.body) ||
         std::holds_alternative<TermStarted>(fact.body);
}

// The id of a cell's run in a sweep: a hash, so that every replica and every replay gives the same one.
RunId MakeRunId(const SweepId& sweep, const CellId& cell, std::int64_t generation);

}  // namespace entrain::domain
