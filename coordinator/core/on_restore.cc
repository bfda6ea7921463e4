// A store that came from a backup knows less than its workers do. Nothing that happened after the backup is believed: every attempt is
// closed, its run goes on from a checkpoint whose samples the store holds, and attempt numbers continue above all that were ever given out.
#include <algorithm>
#include <map>

#include "base/strings.h"
#include "coordinator/core/decider.h"
#include "coordinator/core/edit.h"

namespace entrain::core {
namespace {

// Numbers are given out by the thousand of thousands, one for every restore: no run is launched a million times between two of them, so
// that one which the backup, the artifact root and the connected workers all do not know of is passed over too.
constexpr AttemptNumber kNumbersPerRestore = 1'000'000;
// Beyond it a number is not ours.
constexpr AttemptNumber kLastFloor = 4'200'000'000;

// Samples after the last stored one were acknowledged by the coordinator that is gone, so that nobody sends them again: a checkpoint from
// after it would leave a gap.
void RetireWithoutSamples(Decider* d, const RunId& id, std::int64_t through_step, const std::string& reason) {
  const Run* run = d->state().FindRun(id);
  domain::CheckpointsRetired fact{id, {}, StrCat("newer than what the store and the artifact root hold together (", reason, ")")};
  for (const domain::Checkpoint& checkpoint : run->checkpoints) {
    if (checkpoint.step > through_step) fact.checkpoints.push_back(checkpoint);
  }
  if (!fact.checkpoints.empty()) d->Emit(std::move(fact));
}

void LoseAttempt(Decider* d, const RunId& id, const std::string& reason) {
  const Run run = *d->state().FindRun(id);
  if (run.held && run.pending_end.has_value()) {
    d->Emit(domain::RunPaused{id, reason, /*at_rung=*/true});
  } else if (run.state != domain::RunState::kQueued && run.state != domain::RunState::kPaused) {
    LoseMachineOf(d, id, reason);
  }
  AbandonCurrentAttempt(d, id, reason);
}

}  // namespace

void RaiseFloorAbove(Decider* d, AttemptNumber attempt, const std::string& reason) {
  if (attempt > kLastFloor) return;
  const AttemptNumber highest = std::max(attempt, d->state().attempt_floor);
  d->Emit(domain::AttemptFloorRaised{(highest / kNumbersPerRestore + 1) * kNumbersPerRestore, reason});
}

void On(Decider* d, const domain::StoreRestored& event) {
  std::map<RunId, std::int64_t> through;
  for (const domain::StoreRestored::Samples& samples : event.samples) through[samples.run] = samples.through_step;
  AttemptNumber highest = event.highest_attempt;
  std::vector<RunId> unfinished;
  for (const auto& [id, run] : d->state().runs) {
    highest = std::max(highest, run->attempt);
    if (!domain::IsFinal(run->state)) unfinished.push_back(id);
  }
  for (const RunId& id : unfinished) {
    RetireWithoutSamples(d, id, through[id], event.reason);
    LoseAttempt(d, id, event.reason);
  }
  RaiseFloorAbove(d, highest, event.reason);
  d->AskForPlacement();
}

void ApplyBody(State* state, const Stamp&, const domain::AttemptFloorRaised& fact) {
  state->attempt_floor = std::max(state->attempt_floor, fact.floor);
  std::vector<RunId> waiting;
  for (const auto& [id, run] : state->runs) {
    // One with a current attempt is this history's own.
    if (!domain::IsFinal(run->state) && run->current == nullptr && run->attempt != 0) waiting.push_back(id);
  }
  for (const RunId& id : waiting) {
    EditRun(state, id, [&](Run* run) { run->attempt = std::max(run->attempt, fact.floor); });
  }
}

}  // namespace entrain::core
