// Events: everything that can happen to the coordinator's core. The time is inside the event; Decide reads no clock.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "domain/fleet.h"
#include "domain/run_state.h"
#include "domain/sample.h"
#include "domain/sweep.h"

namespace entrain::domain {

// Answers go to the caller named by this number once the event's facts are durable; 0 wants none.
using RequestId = std::uint64_t;

struct SubmitSweep {
  RequestId request = 0;
  SweepId proposed_id;  // used if the key is new
  std::string idempotency_key;
  SweepSpec spec;
};
// What people ask for one run. Sweep-wide requests are one event a run.
enum class RunAction { kStop, kPause, kResume };
struct ActOnRun {
  RequestId request = 0;
  RunId run;
  RunAction action = RunAction::kStop;
  std::string by;  // the owner who asked
};
// Makes the next generation of a run that ended.
struct RetryRun {
  RequestId request = 0;
  RunId run;
  std::string by;
};

// A worker opened its control stream. `attempts` are those it holds or still has unacknowledged news of; the core answers with the
// difference. A greater `incarnation` replaces an older connection of the same worker.
struct WorkerJoined {
  WorkerInfo info;
  std::uint64_t incarnation = 0;
  std::vector<AttemptKey> live_attempts;
};
struct WorkerHeartbeat {
  WorkerId worker;
  bool draining = false;  // it wants no new attempts
};
struct WorkerDisconnected {
  WorkerId worker;
  std::uint64_t incarnation = 0;
};

// Reports of a worker about one attempt. `report` is the number that the acknowledgement names.
struct AttemptStarted {
  WorkerId worker;
  std::uint64_t report = 0;
  AttemptKey key;
};
struct AttemptEnded {
  WorkerId worker;
  std::uint64_t report = 0;
  AttemptKey key;
  AttemptEnd end;
};
struct CheckpointPublished {
  WorkerId worker;
  std::uint64_t report = 0;
  AttemptKey key;
  Checkpoint checkpoint;
};

// From the sample lane.
struct VerdictReached {
  RunId run;
  Verdict verdict;
};
// Every sample of the attempt up to its last step is stored and judged, without a verdict.
struct RunJudged {
  AttemptKey key;
  std::int64_t through_step = 0;
};

// A run has trained as far as a rung of its sweep's early stopping, and everything up to `step` is judged. `rung` counts from 0.
struct RungReached {
  AttemptKey key;
  std::int64_t rung = 0;
  std::int64_t step = 0;  // of the value; the rung's or, of an evaluation, the first after it
  double value = 0.0;
};
// Samples of a run with a stall limit arrived; not for every batch.
struct RunProgressed {
  AttemptKey key;
};

// What people, or the keeper of a pool of machines, ask for one worker. Quarantine: nothing new is placed there until it is released.
// Forget: it is gone for good and leaves the list; refused while it is connected or anything waits for it. Gone: its machine does not
// exist any more, so that what it held is lost and nothing waits for it; refused while it is connected.
enum class WorkerAction { kQuarantine, kRelease, kForget, kGone };
std::string_view ToString(WorkerAction action);  // "quarantine", "release", "forget", "gone"
std::optional<WorkerAction> ParseWorkerAction(std::string_view text);
struct ActOnWorker {
  RequestId request = 0;
  WorkerId worker;
  WorkerAction action = WorkerAction::kRelease;
  std::string by;
  std::string reason;
};

// Retention no longer keeps these; the core leaves out what the run, or one that goes on from it, still needs.
struct CheckpointRef {
  AttemptNumber attempt = 0;
  std::int64_t step = 0;
  friend auto operator<=>(const CheckpointRef&, const CheckpointRef&) = default;
};
struct RetireCheckpoints {
  RunId run;
  std::vector<CheckpointRef> checkpoints;
  std::string reason;
};
// Asked by people, or by retention for a sweep that ended long ago.
struct ReleaseSweep {
  RequestId request = 0;
  SweepId sweep;
  std::string by;
};
// The first event of a process whose store came from a backup: what happened after the backup was taken is lost, and may have left
// attempts on workers and checkpoints in the artifact root.
struct StoreRestored {
  AttemptNumber highest_attempt = 0;  // found in the artifact root
  // Unfinished runs with the last step whose sample the store holds; a run that is not named has none.
  struct Samples {
    RunId run;
    std::int64_t through_step = 0;
  };
  std::vector<Samples> samples;
  std::string reason;
};

// Time passed; nothing else happened.
struct Tick {};

struct Event {
  // Coordinator time: grows by the boot time elapsed, continues from the last committed event after a restart.
  std::int64_t at_ms = 0;
  std::int64_t wall_ms = 0;  // label
  std::variant<SubmitSweep, ActOnRun, RetryRun, WorkerJoined, WorkerHeartbeat, WorkerDisconnected, AttemptStarted,
               AttemptEnded, CheckpointPublished, VerdictReached, RunJudged, RungReached, RunProgressed, ActOnWorker, RetireCheckpoints, ReleaseSweep, StoreRestored, Tick>
      body;
};

}  // namespace entrain::domain
