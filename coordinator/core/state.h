// Everything the coordinator knows: the sum of all facts. Plain values; every container shares structure between copies, so that a
// copy of the whole State costs a few pointers. The server publishes such a copy after every commit and rpc reads it from any thread;
// only Apply changes a State, and Decide works on a scratch copy of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "coordinator/scheduler/index.h"
#include "coordinator/scheduler/persistent_map.h"
#include "domain/fact.h"
#include "domain/fleet.h"
#include "domain/run_state.h"
#include "domain/sample.h"
#include "domain/sweep.h"

namespace entrain::core {

// Limits and durations. Set once, before the first fact; not part of the journal.
struct CoreConfig {
  // A worker not heard for this long is silent: its runs are queued again and its slots are not given out until it reports.
  std::int64_t lease_ms = 15'000;
  // Pause before the next launch after the n-th failure that counts: backoff_ms * 2^(n-1), at most max_backoff_ms.
  std::int64_t backoff_ms = 1'000;
  std::int64_t max_backoff_ms = 60'000;
  // A failure without a limit of its own (lost machines, drained workers) never ends a run; this many in a row do, as Failed.
  std::int64_t max_lost_in_a_row = 100;
  // A run this long at the head of its class goes before every other of its priority.
  std::int64_t age_limit_ms = 600'000;
  // An attempt that was up for less is not preempted.
  std::int64_t min_run_before_preempt_ms = 120'000;
  // Launch or device failures in a row, of at least two runs, that put a machine into quarantine for `quarantine_ms`; 0: never.
  std::int64_t quarantine_after = 3;
  std::int64_t quarantine_ms = 1'800'000;
  // Runs of one submitted sweep.
  std::size_t max_runs_a_sweep = 100'000;
  // Newest entries kept a run.
  std::size_t max_history = 100;
  std::size_t max_attempts_kept = 50;
  std::size_t max_checkpoints_kept = 20;
  std::size_t max_notices_kept = 50;
  // What engines can add: a run that only they could hold waits, and is not impossible.
  std::vector<scheduler::Elastic> elastic;
  // Placements decided in one event; the rest follow at the next.
  std::size_t max_placements_per_event = 256;
};

struct HistoryEntry {
  std::int64_t wall_ms = 0;
  std::string what;    // the decision, e.g. "placed", "halted"
  std::string reason;  // why, with its numbers
  friend bool operator==(const HistoryEntry&, const HistoryEntry&) = default;
};

// One launch of a run.
struct Attempt {
  domain::AttemptKey key;
  domain::Gang gang;
  domain::Checkpoint resume_from;  // path empty: from step 0
  bool started = false;            // its gang reported that it is up
  // Set once the attempt is over for its run (AttemptClosed).
  std::optional<domain::AttemptEnd> end;
  std::int64_t started_ms = 0;  // coordinator time; 0: not up yet
  std::int64_t placed_wall_ms = 0;
  std::int64_t started_wall_ms = 0;
  std::int64_t closed_wall_ms = 0;
  // Workers whose slots it holds; empty once it is over everywhere.
  std::vector<WorkerId> holds;
};
bool operator==(const Attempt& a, const Attempt& b);

// What stops a run that is Stopping.
struct Stop {
  domain::StopKind kind = domain::StopKind::kCancel;
  std::string reason;
  friend bool operator==(const Stop&, const Stop&) = default;
};

// A checkpoint that retention deleted.
struct RetiredCheckpoint {
  domain::Checkpoint checkpoint;
  std::int64_t wall_ms = 0;
  std::string reason;
  friend bool operator==(const RetiredCheckpoint&, const RetiredCheckpoint&) = default;
};

// Why a queued run was last found waiting. Live numbers: DescribeWait in core/explain.h.
struct Wait {
  bool never = false;
  std::string reason;
  friend bool operator==(const Wait&, const Wait&) = default;
};

struct Run {
  RunId id;
  SweepId sweep;
  std::uint64_t number = 0;     // order of admission over all runs, the FIFO key; kept when queued again
  std::int64_t index = 0;       // of its cell in the sweep's runs
  std::int64_t generation = 1;
  RunId previous;               // the generation before; empty: none
  RunId next;                   // the generation after; empty: this is the newest
  RunId rescue_of;              // the halted run that this one goes on from with other settings; empty: none
  RunId rescued_by;             // the run that goes on from this one; empty: none
  domain::Checkpoint fork;      // of a rescue: the other run's checkpoint that it starts from; path empty: from step 0
  std::int64_t priority = 0;
  std::string owner;
  std::shared_ptr<const domain::RunSpec> spec;

  domain::RunState state = domain::RunState::kQueued;
  // One sentence about the state: who stopped it, why it failed, why it was queued again.
  std::string reason;
  domain::HaltReason halt_reason = domain::HaltReason::kNone;
  domain::FailureClass failure = domain::FailureClass::kNone;  // of the last failure; of a Failed run, what failed it
  std::int64_t failures = 0;     // that count against retries.max_failures
  std::int64_t lost_in_a_row = 0;  // losses since the last attempt that got further

  // The newest attempt's number, or after a restore the floor below which all are refused; 0: never placed. `current` is that attempt while its records are accepted: it lives, or its machine
  // is silent and no successor was placed.
  AttemptNumber attempt = 0;
  std::shared_ptr<const Attempt> current;
  // Attempts that are over, oldest first, bounded.
  std::vector<std::shared_ptr<const Attempt>> past;

  // Accepted checkpoints, oldest first, bounded; the last is where the next attempt starts.
  std::vector<domain::Checkpoint> checkpoints;
  std::vector<RetiredCheckpoint> retired;  // oldest first, bounded
  std::optional<domain::Verdict> verdict;  // that ends it
  std::vector<domain::Verdict> notices;    // verdicts that do not, oldest first, bounded
  std::optional<Stop> stop;  // while Stopping
  // The attempt completed and the run waits until its samples are judged (state Running or Stopping, no current attempt).
  std::optional<domain::AttemptEnd> pending_end;
  std::optional<Wait> wait;  // while Queued
  // Not before this coordinator time (back-off); 0: at once.
  std::int64_t not_before_ms = 0;
  // While Queued: it waited too long, and machines that are being emptied for it.
  bool aged = false;
  std::vector<WorkerId> reserved;
  // Time that earlier attempts were up.
  std::int64_t ran_ms = 0;

  // What it reported at the rungs of its sweep's early stopping, lowest first.
  std::vector<domain::Rung> rungs;
  // It waits at its last rung for others to report.
  bool held = false;
  bool paused_at_rung = false;  // Paused for that alone, not by people

  // Valid once final.
  std::int64_t result_step = 0;
  bool fully_judged = true;

  // Labels for people; 0: not yet.
  std::int64_t created_wall_ms = 0;
  std::int64_t started_wall_ms = 0;   // first attempt's gang up
  std::int64_t finished_wall_ms = 0;
  std::vector<std::shared_ptr<const HistoryEntry>> history;  // oldest first, bounded
};
bool operator==(const Run& a, const Run& b);  // by value, through the pointers

struct Sweep {
  SweepId id;
  std::uint64_t number = 0;  // order of admission
  std::string idempotency_key;
  // As submitted, except that `runs` is empty: each Run holds its own part.
  std::shared_ptr<const domain::SweepSpec> spec;
  std::string content_hash;  // of the submitted spec: what the idempotency key stands for
  // The newest generation of every cell, in the sweep's order; older ones through Run::previous.
  std::shared_ptr<const std::vector<RunId>> runs;
  std::int64_t unfinished_runs = 0;  // of the newest generations
  std::int64_t created_wall_ms = 0;
  // Finished, and its checkpoints may go; 0: not. A retry takes it back.
  std::int64_t released_wall_ms = 0;
  std::string released_by;
};
bool operator==(const Sweep& a, const Sweep& b);

struct Worker {
  domain::WorkerInfo info;
  std::uint64_t incarnation = 0;
  bool draining = false;
  // Its lease ran out; until it is heard again its slots are not given out.
  bool silent = false;
  // Nothing is placed there: until this coordinator time, or (0) until it is released.
  bool quarantined = false;
  std::int64_t quarantined_until_ms = 0;
  std::string quarantine_reason;
  // Runs whose attempts failed to launch, or for its devices, one after the other without one that got further.
  std::vector<RunId> strikes;
  // One a slot: the attempt that holds it; attempt 0: free.
  std::vector<domain::AttemptKey> slots;
  std::int64_t registered_wall_ms = 0;

  // Transient: true only while this process lives, not stored.
  bool connected = false;
  std::int64_t last_heard_ms = 0;

  std::int64_t SlotsUsed() const;
  // "live", "draining", "quarantined", "silent" (lease over) or "away" (not connected, lease running).
  std::string StatusText() const;
};
// The stored part only.
bool operator==(const Worker& a, const Worker& b);

// Since the beginning; for metrics.
struct Counters {
  std::uint64_t sweeps = 0;
  std::uint64_t runs = 0;
  std::uint64_t placements = 0;
  std::uint64_t requeues = 0;
  std::uint64_t verdicts = 0;
  std::uint64_t workers_lost = 0;
  std::uint64_t finished = 0;
  friend bool operator==(const Counters&, const Counters&) = default;
};

template <typename Key, typename Value>
using Shared = scheduler::PersistentMap<Key, scheduler::CopyOnWrite<Value>>;

struct State {
  State() = default;
  explicit State(const CoreConfig& c) : config(c) {
    if (!c.elastic.empty()) index.fleet.SetElastic(c.elastic);
  }

  CoreConfig config;
  Shared<SweepId, Sweep> sweeps;
  Shared<RunId, Run> runs;
  Shared<WorkerId, Worker> workers;
  // Attempts that hold slots anywhere: those that live and closed ones whose machines have not let go.
  scheduler::PersistentMap<domain::AttemptKey, std::shared_ptr<const Attempt>> attempts;
  scheduler::PersistentMap<std::string, SweepId> sweeps_by_key;
  // Sweeps in order of admission.
  scheduler::PersistentMap<std::uint64_t, SweepId> sweeps_by_number;
  Counters counters;
  // The next attempt of any run has a greater number.
  AttemptNumber attempt_floor = 0;
  // Of the last fact.
  std::int64_t at_ms = 0;
  std::int64_t wall_ms = 0;

  // Derived from the above by Apply; never set by hand.
  scheduler::Index index;                                                        // free slots and the queue
  scheduler::PersistentSet<std::pair<std::int64_t, WorkerId>> leases;            // (last heard, worker) of workers not silent
  scheduler::PersistentSet<std::pair<std::int64_t, RunId>> backing_off;          // (not before, run) of queued runs held back
  scheduler::PersistentSet<RunId> awaiting_judgement;                            // runs with a pending_end
  scheduler::PersistentSet<std::pair<std::int64_t, RunId>> deadlines;            // (when a limit is reached, run) of running runs
  scheduler::PersistentSet<std::pair<std::int64_t, WorkerId>> quarantines;       // (until, worker) of those that end by themselves
  // Transient: when samples of a run with a stall limit arrived last.
  scheduler::PersistentMap<RunId, std::int64_t> progress;
  // Transient: leases count from here or from when a worker was heard, whichever is later.
  std::optional<std::int64_t> term_started_ms;

  // nullptr when unknown. Valid while this State is unchanged.
  const Sweep* FindSweep(const SweepId& id) const;
  const Run* FindRun(const RunId& id) const;
  const Worker* FindWorker(const WorkerId& id) const;
  const Attempt* FindAttempt(const domain::AttemptKey& key) const;
};

// Whether records (samples, logs, checkpoints) of this attempt are accepted: it is its run's newest attempt.
bool IsCurrent(const State& state, const domain::AttemptKey& key);

// The stored part of two states is the same: what a replay of the journal must give back.
bool SameStored(const State& a, const State& b);

}  // namespace entrain::core
