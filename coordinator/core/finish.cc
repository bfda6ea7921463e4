// Final states.
#include "base/check.h"
#include "base/strings.h"
#include "coordinator/core/decider.h"

namespace entrain::core {

using domain::EndCause;
using domain::RunFinished;
using domain::RunState;

void FinishHalted(Decider* d, const RunId& id, bool fully_judged) {
  // The caller's may be part of the state, which the fact replaces.
  const RunId halted = id;
  const Run& run = *d->state().FindRun(id);
  ENTRAIN_CHECK_MSG(run.verdict.has_value(), id.value());
  RunFinished fact;
  fact.run = id;
  fact.state = RunState::kHalted;
  fact.halt_reason = run.verdict->reason;
  fact.reason = run.verdict->explanation;
  fact.result_step = run.verdict->step;
  fact.fully_judged = fully_judged;
  d->Emit(fact);
  RescueHalted(d, halted);
}

void FinishCancelled(Decider* d, const RunId& id, const std::string& reason) {
  RunFinished fact;
  fact.run = id;
  fact.state = RunState::kCancelled;
  fact.reason = reason;
  fact.result_step = LastKnownStep(*d->state().FindRun(id));
  d->Emit(fact);
}

void FinishPruned(Decider* d, const RunId& id, const std::string& reason) {
  const Run& run = *d->state().FindRun(id);
  RunFinished fact;
  fact.run = id;
  fact.state = RunState::kPruned;
  fact.reason = reason;
  // Not where it happened to stop: what it was compared by counts.
  fact.result_step = run.rungs.back().step;
  d->Emit(fact);
}

void FinishFailed(Decider* d, const RunId& id, domain::FailureClass failure, const std::string& reason) {
  RunFinished fact;
  fact.run = id;
  fact.state = RunState::kFailed;
  fact.failure = failure;
  fact.reason = reason;
  fact.result_step = LastKnownStep(*d->state().FindRun(id));
  d->Emit(fact);
}

void FinishPending(Decider* d, const RunId& id, bool fully_judged, const std::string& why_not_judged) {
  const Run& run = *d->state().FindRun(id);
  ENTRAIN_CHECK_MSG(run.pending_end.has_value(), id.value());
  const domain::AttemptEnd end = *run.pending_end;
  const std::string caveat = fully_judged ? "" : StrCat("; not fully judged: ", why_not_judged);
  RunFinished fact;
  fact.run = id;
  fact.result_step = end.last_step;
  fact.fully_judged = fully_judged;
  if (end.cause == EndCause::kNonFinite) {
    // The trainer itself saw it, whatever rules are on.
    fact.state = RunState::kHalted;
    fact.halt_reason = domain::HaltReason::kNonFinite;
    fact.reason = StrCat(end.message.empty() ? "loss or gradient not finite" : end.message, " at step ", end.last_step, caveat);
  } else {
    fact.state = RunState::kSucceeded;
    fact.reason = StrCat("trained ", end.last_step, " steps", caveat);
  }
  d->Emit(fact);
}

}  // namespace entrain::core
