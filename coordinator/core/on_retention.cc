// What retention asks for. The core is the only one to take a checkpoint off a run's list, so that no decision before it relied on one
// that goes, and every decision after it knows.
#include <algorithm>

#include "base/strings.h"
#include "coordinator/core/decider.h"
#include "coordinator/core/edit.h"
#include "coordinator/core/retention.h"

namespace entrain::core {
namespace {

// Of a run, newest first: what goes on from it is in the list `rescued_by`, and every next generation of that.
const Run* GoesOnFrom(const State& state, const Run& run, const domain::Checkpoint& checkpoint) {
  for (const Run* next = state.FindRun(run.rescued_by); next != nullptr; next = state.FindRun(next->next)) {
    if (next->fork.path == checkpoint.path) return next;
  }
  return nullptr;
}

bool IsReleased(const State& state, const Run& run) { return state.FindSweep(run.sweep)->released_wall_ms != 0; }

// Valid of a run that is over and whose sweep nobody released.
std::string WhyResult(const Run& run, const domain::Checkpoint& checkpoint) {
  if (checkpoint == run.checkpoints.back()) return "it is the run's last";
  if (checkpoint.step == run.checkpoints.back().best_step) return "it is the run's best";
  if (run.verdict.has_value() && checkpoint.path == LastHealthy(run).path) return "it is the last healthy one before the verdict";
  return "";
}

}  // namespace

std::string WhyNeeded(const State& state, const Run& run, const domain::Checkpoint& checkpoint) {
  if (!domain::IsFinal(run.state)) {
    if (checkpoint == run.checkpoints.back()) return "the run goes on from it";
    if (checkpoint.step == run.checkpoints.back().best_step) return "it is the run's best";
    if (run.current != nullptr && run.current->resume_from.path == checkpoint.path) return "the current attempt starts from it";
  }
  const bool released = IsReleased(state, run);
  const Run* next = GoesOnFrom(state, run, checkpoint);
  if (next != nullptr && !(released && domain::IsFinal(next->state))) return StrCat("run ", next->id.value(), " goes on from it");
  return domain::IsFinal(run.state) && !released ? WhyResult(run, checkpoint) : "";
}

std::string WhyForkIsGone(const State& state, const Run& run) {
  if (run.fork.path.empty()) return "";
  for (const Run* from = state.FindRun(run.rescue_of); from != nullptr; from = state.FindRun(from->rescue_of)) {
    for (const RetiredCheckpoint& retired : from->retired) {
      if (retired.checkpoint.path != run.fork.path) continue;
      return StrCat("run ", run.id.value(), " goes on from step ", run.fork.step, " of run ", from->id.value(),
                    ", whose checkpoint was deleted by retention: ", retired.reason);
    }
  }
  return "";
}

void On(Decider* d, const domain::RetireCheckpoints& event) {
  const Run* run = d->state().FindRun(event.run);
  if (run == nullptr) return;
  domain::CheckpointsRetired fact{run->id, {}, event.reason};
  for (const domain::Checkpoint& checkpoint : run->checkpoints) {
    const bool asked = std::find(event.checkpoints.begin(), event.checkpoints.end(),
                                 domain::CheckpointRef{checkpoint.attempt, checkpoint.step}) != event.checkpoints.end();
    if (asked && WhyNeeded(d->state(), *run, checkpoint).empty()) fact.checkpoints.push_back(checkpoint);
  }
  if (!fact.checkpoints.empty()) d->Emit(std::move(fact));
}

void On(Decider* d, const domain::ReleaseSweep& event) {
  const Sweep* sweep = d->state().FindSweep(event.sweep);
  if (sweep == nullptr) {
    d->Answer(event.request, absl::NotFoundError(StrCat("no sweep ", event.sweep.value())));
    return;
  }
  if (sweep->unfinished_runs != 0) {
    d->Answer(event.request, absl::FailedPreconditionError(StrCat("sweep ", event.sweep.value(), " has ", sweep->unfinished_runs,
                                                                  " unfinished runs; only a finished sweep can be released")));
    return;
  }
  if (sweep->released_wall_ms == 0) d->Emit(domain::SweepReleased{event.sweep, event.by});
  d->Answer(event.request, absl::OkStatus(), event.sweep.value());
}

void ApplyBody(State* state, const Stamp& stamp, const domain::CheckpointsRetired& fact) {
  EditRun(state, fact.run, [&](Run* run) {
    for (const domain::Checkpoint& gone : fact.checkpoints) {
      std::erase(run->checkpoints, gone);
      run->retired.push_back({gone, stamp.wall_ms, fact.reason});
    }
    const std::size_t limit = state->config.max_checkpoints_kept;
    if (run->retired.size() > limit) run->retired.erase(run->retired.begin(), run->retired.end() - static_cast<std::ptrdiff_t>(limit));
  });
}

void ApplyBody(State* state, const Stamp& stamp, const domain::SweepReleased& fact) {
  EditSweep(state, fact.sweep, [&](Sweep* sweep) {
    sweep->released_wall_ms = stamp.wall_ms;
    sweep->released_by = fact.by;
  });
}

}  // namespace entrain::core
