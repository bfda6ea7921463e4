// From the sample lane: what the policy says of a run, and that it has seen everything.
#include <algorithm>

#include "base/strings.h"
#include "coordinator/core/decider.h"

namespace entrain::core {
namespace {

using domain::RunState;
using domain::StopKind;

// Whether the samples that the verdict rests on still count. They do not once an attempt began before the verdict's step: its own
// samples replace them and give the verdict again. An attempt that resumed at or after that step kept them.
bool Stands(const Run& run, const domain::Verdict& verdict) {
  if (verdict.attempt == 0 || verdict.attempt > run.attempt) return false;
  const auto replaces = [&](const Attempt& attempt) {
    return attempt.key.attempt > verdict.attempt && attempt.resume_from.step < verdict.step;
  };
  if (run.current != nullptr && replaces(*run.current)) return false;
  return std::none_of(run.past.begin(), run.past.end(), [&](const auto& past) { return replaces(*past); });
}

}  // namespace

void On(Decider* d, const domain::VerdictReached& event) {
  const Run* found = d->state().FindRun(event.run);
  if (found == nullptr || IsFinal(found->state) || found->verdict.has_value() || !Stands(*found, event.verdict)) return;
  const Run run = *found;
  // It trained past its rung while the stop was on its way. How far is chance, so that it does not count: if the run goes on, the lane
  // says it again.
  if (run.held && !run.pending_end.has_value() && event.verdict.step > run.rungs.back().step) return;
  if (!domain::EndsRun(event.verdict.action)) {
    NoteVerdict(d, run.id, event.verdict);
    return;
  }
  d->Emit(domain::VerdictRecorded{run.id, event.verdict});
  const bool runs_now = run.current != nullptr && run.state != RunState::kQueued;
  if (!runs_now) {
    AbandonCurrentAttempt(d, run.id, "halted while its machine was silent");
    FinishHalted(d, run.id, true);
    d->AskForPlacement();
    return;
  }
  // Who asked to cancel it gets that.
  if (run.stop.has_value() && run.stop->kind == StopKind::kCancel) return;
  d->Emit(domain::StopDecided{run.current->key, StopKind::kHalt, event.verdict.explanation});
  d->Send(domain::StopAttempt{run.current->gang.members.front().worker, run.current->key,
                              event.verdict.action == domain::RuleAction::kStop ? domain::StopMode::kNow : domain::StopMode::kCheckpoint,
                              event.verdict.explanation});
}

void On(Decider* d, const domain::RunJudged& event) {
  if (!IsCurrent(d->state(), event.key)) return;
  const Run& run = *d->state().FindRun(event.key.run);
  if (!run.pending_end.has_value() || event.through_step < run.pending_end->last_step) return;
  FinishPending(d, run.id, true, "");
}

}  // namespace entrain::core
