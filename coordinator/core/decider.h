// One decision in the making: facts are applied to a scratch copy as they are decided, so that every next line of the decision sees
// what the one before did. Private to the core.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "coordinator/core/core.h"
#include "coordinator/core/state.h"
#include "domain/effect.h"
#include "domain/event.h"
#include "domain/fact.h"

namespace entrain::core {

class Decider {
 public:
  Decider(State state, const domain::Event& event) : state_(std::move(state)), at_ms_(event.at_ms), wall_ms_(event.wall_ms) {
    decision_.facts.reserve(8);
    decision_.effects.reserve(4);
  }

  // With everything decided so far.
  const State& state() const { return state_; }
  const CoreConfig& config() const { return state_.config; }
  std::int64_t at_ms() const { return at_ms_; }

  template <typename Body>
  void Emit(Body body) {
    domain::Fact fact;
    fact.at_ms = at_ms_;
    fact.wall_ms = wall_ms_;
    fact.body = std::move(body);
    Apply(&state_, fact);
    decision_.facts.push_back(std::move(fact));
  }
  void Send(domain::Effect effect) { decision_.effects.push_back(std::move(effect)); }
  void Answer(domain::RequestId request, absl::Status status, std::string id = "") {
    if (request != 0) Send(domain::Reply{request, std::move(status), std::move(id)});
  }

  // Something changed that may let a queued run start.
  void AskForPlacement() { placement_asked_ = true; }
  bool placement_asked() const { return placement_asked_; }
  // Time passed: what waits for too long is looked at, and whether someone must make room.
  void AskForPreemption() { preemption_asked_ = true; }
  bool preemption_asked() const { return preemption_asked_; }
  Decision Take() {
    decision_.after = std::move(state_);
    return std::move(decision_);
  }
  const std::vector<domain::Fact>& facts() const { return decision_.facts; }

 private:
  State state_;
  std::int64_t at_ms_;
  std::int64_t wall_ms_;
  bool placement_asked_ = false;
  bool preemption_asked_ = false;
  Decision decision_;
};

// One function an event; each in the file of its subject.
void On(Decider* d, const domain::SubmitSweep& event);          // on_submit.cc
void On(Decider* d, const domain::RetryRun& event);             // on_submit.cc
void On(Decider* d, const domain::ActOnRun& event);             // on_action.cc
void On(Decider* d, const domain::WorkerJoined& event);         // on_worker.cc
void On(Decider* d, const domain::WorkerHeartbeat& event);      // on_worker.cc
void On(Decider* d, const domain::WorkerDisconnected& event);   // on_worker.cc
void On(Decider* d, const domain::Tick& event);                 // on_worker.cc
void On(Decider* d, const domain::AttemptStarted& event);       // on_attempt.cc
void On(Decider* d, const domain::AttemptEnded& event);         // on_attempt.cc
void On(Decider* d, const domain::CheckpointPublished& event);  // on_attempt.cc
void On(Decider* d, const domain::VerdictReached& event);       // on_verdict.cc
void On(Decider* d, const domain::RunJudged& event);            // on_verdict.cc
void On(Decider* d, const domain::RungReached& event);          // on_rung.cc
void On(Decider* d, const domain::RunProgressed& event);        // limits.cc
void On(Decider* d, const domain::ActOnWorker& event);          // quarantine.cc
void On(Decider* d, const domain::RetireCheckpoints& event);    // on_retention.cc
void On(Decider* d, const domain::ReleaseSweep& event);         // on_retention.cc
void On(Decider* d, const domain::StoreRestored& event);        // on_restore.cc

// on_attempt.cc: the current attempt is over, as `end` says; closes it and decides what becomes of its run.
void EndCurrentAttempt(Decider* d, const RunId& run, const domain::AttemptEnd& end);
// Closes the current attempt of a run, if it has one, without waiting for its machines; they are told to forget it.
void AbandonCurrentAttempt(Decider* d, const RunId& run, const std::string& why);
// One of the machines of the run's current attempt is silent.
void LoseMachineOf(Decider* d, const RunId& run, const std::string& why);

// Stops the run's gang; a stop that was decided before is replaced.
void StopGang(Decider* d, const Run& run, domain::StopKind kind, const std::string& reason);
domain::StopMode ModeOf(domain::StopKind kind);

// quarantine.cc
void QuarantineIfStruck(Decider* d, const WorkerId& worker);
void ReleaseQuarantined(Decider* d);  // those whose time is over

// limits.cc: runs that reached max_duration or the stall limit are stopped.
void EnforceLimits(Decider* d);

// on_rung.cc: promotes, holds and prunes in the sweeps whose runs this decision changed.
void DecideRungs(Decider* d);
void ResumeFromRung(Decider* d, const Run& run, const std::string& by);

// preempt.cc
void AgeHeads(Decider* d);
// `waiting` in the order of the plan. Whether machines were reserved.
bool Preempt(Decider* d, const std::vector<scheduler::Request>& waiting);

// on_notice.cc: a verdict that does not end its run; and the run that goes on in place of one that a rule ended in order to rescue it.
void NoteVerdict(Decider* d, const RunId& run, const domain::Verdict& verdict);
void RescueHalted(Decider* d, const RunId& run);

// on_restore.cc: a worker has an attempt of the run that this store never gave out.
void RaiseFloorAbove(Decider* d, AttemptNumber attempt, const std::string& reason);

// finish.cc: final states, with the step that counts.
void FinishHalted(Decider* d, const RunId& run, bool fully_judged);  // by its recorded verdict
void FinishCancelled(Decider* d, const RunId& run, const std::string& reason);
void FinishPruned(Decider* d, const RunId& run, const std::string& reason);
void FinishFailed(Decider* d, const RunId& run, domain::FailureClass failure, const std::string& reason);
// A run whose last attempt completed (or ended non-finite) and whose samples are judged, or will never be.
void FinishPending(Decider* d, const RunId& run, bool fully_judged, const std::string& why_not_judged);

// on_worker.cc
bool IsReporting(const State& state, const WorkerId& worker);
// Why it cannot be forgotten, or OK and it is.
absl::Status ForgetWorker(Decider* d, const WorkerId& worker, const std::string& by);
// The same of one whose machine is gone: what it held is lost first.
absl::Status RetireWorker(Decider* d, const WorkerId& worker, const std::string& by);
// The worker is there: renews its lease, and takes a silent one back with the attempts it held.
void HearFrom(Decider* d, const WorkerId& worker);
// "worker host7 (w1abc)".
std::string NameOf(const State& state, const WorkerId& worker);

// place.cc: places what can be placed and stores why the rest waits. The first waiting run of every class, in order.
std::vector<scheduler::Request> Place(Decider* d);
domain::LaunchAttempt LaunchOf(const Run& run);
// Queued runs whose pause after a failure is over enter the queue.
void ReleaseHeldBack(Decider* d);

// Where the run's next attempt starts; path empty: from step 0.
domain::Checkpoint ResumePoint(const Run& run);
// The newest step that the run is known to have reached.
std::int64_t LastKnownStep(const Run& run);

}  // namespace entrain::core
