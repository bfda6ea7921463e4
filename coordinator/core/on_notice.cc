// Verdicts that do not end their run, and what becomes of one that a rule ends in order to rescue it.
#include <algorithm>

#include "base/strings.h"
#include "coordinator/core/decider.h"
#include "coordinator/core/retention.h"

namespace entrain::core {
namespace {

using domain::RuleAction;
using domain::RunState;

// The lane gives every verdict again after a restart and for a successor that kept its samples. A rule pauses a run once: who resumes it has seen why.
bool OnRecord(const Run& run, const domain::Verdict& verdict) {
  return std::any_of(run.notices.begin(), run.notices.end(), [&](const domain::Verdict& known) {
    return known.rule == verdict.rule && (known.step == verdict.step || verdict.action == RuleAction::kPause);
  });
}

void PauseByRule(Decider* d, const RunId& id, const domain::Verdict& verdict) {
  const Run run = *d->state().FindRun(id);
  const std::string reason = StrCat("paused by rule ", verdict.rule, ": ", verdict.explanation);
  if (run.pending_end.has_value() || run.stop.has_value()) return;
  if (run.state == RunState::kQueued) {
    AbandonCurrentAttempt(d, id, reason);
    d->Emit(domain::RunPaused{id, reason});
    d->AskForPlacement();
  } else if (run.current != nullptr) {
    StopGang(d, run, domain::StopKind::kPause, reason);
  }
}

}  // namespace

domain::Checkpoint LastHealthy(const Run& run) {
  const std::int64_t sick_since = run.verdict->steps.empty() ? run.verdict->step : run.verdict->steps.front();
  domain::Checkpoint healthy;
  for (const domain::Checkpoint& checkpoint : run.checkpoints) {
    if (checkpoint.step < sick_since && checkpoint.step >= healthy.step) healthy = checkpoint;
  }
  // It may itself be a rescue that was stopped before its first checkpoint.
  return healthy.path.empty() ? run.fork : healthy;
}

void NoteVerdict(Decider* d, const RunId& id, const domain::Verdict& verdict) {
  if (OnRecord(*d->state().FindRun(id), verdict)) return;
  d->Emit(domain::VerdictRecorded{id, verdict});
  if (verdict.action == RuleAction::kPause) PauseByRule(d, id, verdict);
}

void RescueHalted(Decider* d, const RunId& id) {
  const Run& run = *d->state().FindRun(id);
  const bool wanted = run.verdict.has_value() && run.verdict->action == RuleAction::kRescue;
  if (!wanted || run.spec->rescue.empty() || !run.rescued_by.empty()) return;
  const RunId rescue = domain::MakeRunId(run.sweep, run.spec->rescue.front().cell, run.generation);
  if (d->state().FindRun(rescue) != nullptr) return;
  d->Emit(domain::RunRescued{id, rescue, LastHealthy(run)});
  d->AskForPlacement();
}

}  // namespace entrain::core
