// Workers come, go silent and come back. A lease says how long the coordinator counts on a worker it does not hear.
#include <algorithm>
#include <set>

#include "base/check.h"
#include "base/strings.h"
#include "coordinator/core/decider.h"
#include "coordinator/core/edit.h"

namespace entrain::core {
namespace {

using domain::AttemptKey;
using domain::RunState;

// Every attempt that holds slots on the worker.
std::vector<AttemptKey> HeldOn(const State& state, const WorkerId& id) {
  std::set<AttemptKey> held;
  for (const AttemptKey& key : state.FindWorker(id)->slots) {
    if (key.attempt != 0) held.insert(key);
  }
  // Of a machine that came back smaller.
  for (const auto& [key, attempt] : state.attempts) {
    if (std::count(attempt->holds.begin(), attempt->holds.end(), id) > 0) held.insert(key);
  }
  return {held.begin(), held.end()};
}

bool AllReport(const State& state, const domain::Gang& gang) {
  return std::all_of(gang.members.begin(), gang.members.end(),
                     [&](const domain::GangMember& member) { return !state.FindWorker(member.worker)->silent; });
}

// Every machine of the gang is back before a successor was placed, and its head has it.
void ReclaimIfWhole(Decider* d, const Attempt& attempt) {
  const bool waits = d->state().FindRun(attempt.key.run)->state == RunState::kQueued;
  if (waits && AllReport(d->state(), attempt.gang)) d->Emit(domain::AttemptReclaimed{attempt.key});
}

// The worker has the attempt.
void MeetPresent(Decider* d, const WorkerId& worker, const AttemptKey& key) {
  const Attempt attempt = *d->state().FindAttempt(key);
  if (attempt.end.has_value()) {
    d->Send(domain::ForgetAttempt{worker, key});
    return;
  }
  ReclaimIfWhole(d, attempt);
  const Run& run = *d->state().FindRun(key.run);
  if (run.state == RunState::kStopping && attempt.gang.members.front().worker == worker) {
    d->Send(domain::StopAttempt{worker, key, ModeOf(run.stop->kind), run.stop->reason});
  }
  // Its samples could not come while it was away.
  if (run.state == RunState::kRunning && run.spec->limits.stall_limit_s > 0) d->Emit(domain::ProgressHeard{key.run});
}

// The worker does not have the attempt that holds its slots.
void MeetAbsent(Decider* d, const WorkerId& worker, const AttemptKey& key) {
  const Attempt attempt = *d->state().FindAttempt(key);
  if (attempt.end.has_value()) {
    d->Emit(domain::MemberReleased{key, worker});
    return;
  }
  // Only the head is told to launch, and only it knows what became of the gang.
  if (attempt.gang.members.front().worker != worker) return ReclaimIfWhole(d, attempt);
  const Run& run = *d->state().FindRun(key.run);
  // Whether the launch got lost or the worker lost what it made of it, nobody knows: what is started next has a number of its own.
  domain::AttemptEnd end;
  end.last_step = attempt.resume_from.step;
  const bool never_up = !attempt.started && run.state == RunState::kStopping;
  end.cause = never_up ? domain::EndCause::kStopped : domain::EndCause::kMachineLost;
  end.message = StrCat(NameOf(d->state(), worker), " came back without it");
  EndCurrentAttempt(d, run.id, end);
  if (d->state().FindAttempt(key) != nullptr) d->Emit(domain::MemberReleased{key, worker});
}

// Attempts that the worker names and that hold nothing here: unknown or replaced ones end; the rest only awaits acknowledgements.
void MeetUnknown(Decider* d, const WorkerId& worker, const AttemptKey& key) {
  if (const Run* run = d->state().FindRun(key.run); run != nullptr && key.attempt > run->attempt) {
    RaiseFloorAbove(d, key.attempt, StrCat(NameOf(d->state(), worker), " has attempt ", key.ToString(), ", which this store never gave out"));
  }
  if (!IsCurrent(d->state(), key)) d->Send(domain::ForgetAttempt{worker, key});
}

// Runs whose last samples are the worker's to send.
std::vector<RunId> AwaitedFrom(const State& state, const WorkerId& worker) {
  std::vector<RunId> awaited;
  for (const auto& [run, present] : state.awaiting_judgement) {
    if (state.FindRun(run)->past.back()->gang.members.front().worker == worker) awaited.push_back(run);
  }
  return awaited;
}

void LoseWorker(Decider* d, const WorkerId& worker, const std::string& why) {
  d->Emit(domain::WorkerSilent{worker});
  for (const AttemptKey& key : HeldOn(d->state(), worker)) {
    if (!d->state().FindAttempt(key)->end.has_value()) LoseMachineOf(d, key.run, why);
  }
  for (const RunId& run : AwaitedFrom(d->state(), worker)) FinishPending(d, run, false, why);
  d->AskForPlacement();
}

}  // namespace

bool IsReporting(const State& state, const WorkerId& worker) {
  const Worker* found = state.FindWorker(worker);
  return found != nullptr && !found->silent && found->connected;
}

std::string NameOf(const State& state, const WorkerId& worker) {
  const Worker* found = state.FindWorker(worker);
  return found == nullptr ? StrCat("worker ", worker.value()) : StrCat("worker ", found->info.name, " (", worker.value(), ")");
}

void HearFrom(Decider* d, const WorkerId& id) {
  const Worker* worker = d->state().FindWorker(id);
  if (worker == nullptr) return;
  const bool was_silent = worker->silent;
  const bool was_connected = worker->connected;
  if (was_silent) d->Emit(domain::WorkerRegistered{worker->info, worker->incarnation});
  d->Emit(domain::WorkerHeard{id, true});
  if (!was_connected) d->AskForPlacement();
  // Its stream never broke, so that nothing sent to it or by it was lost: what it held it holds.
  if (!was_silent) return;
  for (const AttemptKey& key : HeldOn(d->state(), id)) MeetPresent(d, id, key);
}

absl::Status ForgetWorker(Decider* d, const WorkerId& id, const std::string& by) {
  const std::string name = NameOf(d->state(), id);
  if (d->state().FindWorker(id)->connected) {
    return absl::FailedPreconditionError(StrCat(name, " is connected; drain it, end its daemon, then forget it"));
  }
  if (const std::vector<AttemptKey> held = HeldOn(d->state(), id); !held.empty()) {
    return absl::FailedPreconditionError(StrCat(name, " still holds attempt ", held.front().ToString(),
                                                held.size() == 1 ? std::string() : StrCat(" and ", held.size() - 1, " more"),
                                                ": what runs there is not known to have ended"));
  }
  if (const std::vector<RunId> awaited = AwaitedFrom(d->state(), id); !awaited.empty()) {
    return absl::FailedPreconditionError(StrCat("run ", awaited.front().value(), " waits for samples from ", name));
  }
  d->Emit(domain::WorkerForgotten{id, by});
  return absl::OkStatus();
}

absl::Status RetireWorker(Decider* d, const WorkerId& id, const std::string& by) {
  const std::string name = NameOf(d->state(), id);
  if (d->state().FindWorker(id)->connected) return absl::FailedPreconditionError(StrCat(name, " is connected: its machine is not gone"));
  const std::string why = StrCat(name, " is gone, as ", by, " says");
  if (!d->state().FindWorker(id)->silent) LoseWorker(d, id, why);
  for (const RunId& run : AwaitedFrom(d->state(), id)) FinishPending(d, run, false, why);
  // Whoever says so may be wrong, and the attempt go on there: it is over for its run, and fenced as soon as that has a successor.
  for (const AttemptKey& key : HeldOn(d->state(), id)) {
    if (!d->state().FindAttempt(key)->end.has_value()) AbandonCurrentAttempt(d, key.run, why);
    if (d->state().FindAttempt(key) != nullptr) d->Emit(domain::MemberReleased{key, id});
  }
  d->Emit(domain::WorkerForgotten{id, by});
  return absl::OkStatus();
}

void On(Decider* d, const domain::WorkerJoined& event) {
  const WorkerId& id = event.info.id;
  if (id.empty() || event.info.slots < 0 || event.info.slots > 100'000) return;
  const Worker* known = d->state().FindWorker(id);
  if (known != nullptr && event.incarnation < known->incarnation) return;
  if (known == nullptr || known->silent || known->incarnation != event.incarnation || !(known->info == event.info)) {
    d->Emit(domain::WorkerRegistered{event.info, event.incarnation});
  }
  d->Emit(domain::WorkerHeard{id, true});
  d->AskForPlacement();

  const std::set<AttemptKey> named(event.live_attempts.begin(), event.live_attempts.end());
  const std::vector<AttemptKey> held = HeldOn(d->state(), id);
  for (const AttemptKey& key : held) {
    if (named.contains(key)) {
      MeetPresent(d, id, key);
    } else {
      MeetAbsent(d, id, key);
    }
  }
  for (const AttemptKey& key : named) {
    if (std::find(held.begin(), held.end(), key) == held.end()) MeetUnknown(d, id, key);
  }
}

void On(Decider* d, const domain::WorkerHeartbeat& event) {
  const Worker* worker = d->state().FindWorker(event.worker);
  if (worker == nullptr) return;
  const bool changes = worker->draining != event.draining;
  HearFrom(d, event.worker);
  if (!changes) return;
  d->Emit(domain::WorkerDraining{event.worker, event.draining});
  d->AskForPlacement();
}

void On(Decider* d, const domain::WorkerDisconnected& event) {
  const Worker* worker = d->state().FindWorker(event.worker);
  if (worker == nullptr || !worker->connected || worker->incarnation != event.incarnation) return;
  d->Emit(domain::WorkerHeard{event.worker, false});
  d->AskForPlacement();
}

void On(Decider* d, const domain::Tick&) {
  std::vector<WorkerId> lost;
  const std::int64_t expired_ms = d->at_ms() - d->config().lease_ms;
  if (expired_ms >= *d->state().term_started_ms) {
    for (const auto& [heard, present] : d->state().leases) {
      if (heard.first > expired_ms) break;
      lost.push_back(heard.second);
    }
  }
  for (const WorkerId& worker : lost) {
    LoseWorker(d, worker, StrCat(NameOf(d->state(), worker), " was not heard for ", d->config().lease_ms / 1000.0, " s"));
  }
  ReleaseQuarantined(d);
  EnforceLimits(d);
  d->AskForPlacement();
  d->AskForPreemption();
}

}  // namespace entrain::core
