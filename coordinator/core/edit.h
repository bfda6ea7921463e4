// How Apply changes a State: one entity replaced at a time, the derived indexes kept in step. Private to the core.
#pragma once

#include <optional>
#include <string>

#include "absl/functional/function_ref.h"
#include "coordinator/core/state.h"

namespace entrain::core {

// The fact's time, stamped on what it changes.
struct Stamp {
  std::int64_t at_ms = 0;
  std::int64_t wall_ms = 0;
};

// Adds a run that is not there yet, and its place in the queue.
void AddRun(State* state, Run run);
// Changes the run; queue, caps and the other indexes follow.
void EditRun(State* state, const RunId& id, absl::FunctionRef<void(Run*)> edit);
// When one of the run's limits is reached, as far as this state knows; nullopt: never.
std::optional<std::int64_t> DeadlineOf(const State& state, const Run& run);
// Samples arrived.
void HearProgress(State* state, const RunId& id, std::int64_t at_ms);
void EditSweep(State* state, const SweepId& id, absl::FunctionRef<void(Sweep*)> edit);
// Replaces or adds; the fleet and the leases follow.
void PutWorker(State* state, Worker worker);
// It holds nothing.
void RemoveWorker(State* state, const WorkerId& id);
void EditWorker(State* state, const WorkerId& id, absl::FunctionRef<void(Worker*)> edit);
// Replaces the attempt where it is kept: by key while it holds slots, and in its run while it is current.
void PutAttempt(State* state, Attempt attempt);

// Marks the slots of its gang as the attempt's.
void HoldSlots(State* state, const Attempt& attempt);
// Frees those that it holds on this worker; its `holds` is the caller's to change.
void FreeSlots(State* state, const domain::AttemptKey& key, const WorkerId& worker);
// The same, and ends its hold there.
void ReleaseSlots(State* state, const domain::AttemptKey& key, const WorkerId& worker);

void AddHistory(Run* run, const CoreConfig& config, const Stamp& stamp, std::string what, std::string reason);

scheduler::Request RequestOf(const State& state, const Run& run);
bool InQueue(const Run& run);   // may be placed now
bool HeldBack(const Run& run);  // queued, but not before a time
bool IsActive(const Run& run);  // counts against its sweep's cap
scheduler::Machine MachineOf(const Worker& worker);
// Whether that is what MachineOf gives; without making one.
bool IsMachineOf(const scheduler::Machine& machine, const Worker& worker);

// Keys of two owners never meet.
std::string SweepKey(const std::string& owner, const std::string& idempotency_key);
// What the idempotency key stands for: everything submitted.
std::string ContentHash(const domain::SweepSpec& spec);

// Apply, by subject.
void ApplyBody(State* state, const Stamp& stamp, const domain::SweepAdmitted& fact);
void ApplyBody(State* state, const Stamp& stamp, const domain::RunRetried& fact);
void ApplyBody(State* state, const Stamp& stamp, const domain::RunRescued& fact);
void ApplyBody(State* state, const Stamp& stamp, const domain::WorkerRegistered& fact);
void ApplyBody(State* state, const Stamp& stamp, const domain::WorkerSilent& fact);
void ApplyBody(State* state, const Stamp& stamp, const domain::WorkerDraining& fact);
void ApplyBody(State* state, const Stamp& stamp, const domain::WorkerHeard& fact);
void ApplyBody(State* state, const Stamp& stamp, const domain::ProgressHeard& fact);
void ApplyBody(State* state, const Stamp& stamp, const domain::TermStarted& fact);
void ApplyBody(State* state, const Stamp& stamp, const domain::WorkerQuarantined& fact);
void ApplyBody(State* state, const Stamp& stamp, const domain::WorkerReleased& fact);
void ApplyBody(State* state, const Stamp& stamp, const domain::WorkerForgotten& fact);
void ApplyBody(State* state, const Stamp& stamp, const domain::RunAged& fact);
void ApplyBody(State* state, const Stamp& stamp, const domain::RunReserved& fact);
void ApplyBody(State* state, const Stamp& stamp, const domain::RungRecorded& fact);
void ApplyBody(State* state, const Stamp& stamp, const domain::RungDecided& fact);
void ApplyBody(State* state, const Stamp& stamp, const domain::RunPlaced& fact);
void ApplyBody(State* state, const Stamp& stamp, const domain::RunStarted& fact);
void ApplyBody(State* state, const Stamp& stamp, const domain::CheckpointRecorded& fact);
void ApplyBody(State* state, const Stamp& stamp, const domain::StopDecided& fact);
void ApplyBody(State* state, const Stamp& stamp, const domain::VerdictRecorded& fact);
void ApplyBody(State* state, const Stamp& stamp, const domain::AttemptClosed& fact);
void ApplyBody(State* state, const Stamp& stamp, const domain::MemberReleased& fact);
void ApplyBody(State* state, const Stamp& stamp, const domain::AttemptReclaimed& fact);
void ApplyBody(State* state, const Stamp& stamp, const domain::RunRequeued& fact);
void ApplyBody(State* state, const Stamp& stamp, const domain::RunPaused& fact);
void ApplyBody(State* state, const Stamp& stamp, const domain::RunResumed& fact);
void ApplyBody(State* state, const Stamp& stamp, const domain::RunFinished& fact);
void ApplyBody(State* state, const Stamp& stamp, const domain::WaitReasonChanged& fact);
void ApplyBody(State* state, const Stamp& stamp, const domain::CheckpointsRetired& fact);
void ApplyBody(State* state, const Stamp& stamp, const domain::SweepReleased& fact);
void ApplyBody(State* state, const Stamp& stamp, const domain::AttemptFloorRaised& fact);

}  // namespace entrain::core
