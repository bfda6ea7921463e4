// What workers report about attempts, and what the end of an attempt means for its run.
#include <algorithm>

#include "base/check.h"
#include "base/strings.h"
#include "coordinator/core/decider.h"
#include "domain/failure_rules.h"

namespace entrain::core {
namespace {

using domain::AttemptKey;
using domain::EndCause;
using domain::FailureClass;
using domain::RunState;
using domain::StopKind;

// The attempt whose records are accepted, if that is this one and it is not over.
const Attempt* CurrentOf(const State& state, const AttemptKey& key) {
  const Run* run = state.FindRun(key.run);
  return run != nullptr && run->current != nullptr && run->current->key == key ? run->current.get() : nullptr;
}

// Reports are sent again until acknowledged: those about attempts that are over, replaced or unknown are acknowledged too.
void Acknowledge(Decider* d, const WorkerId& worker, std::uint64_t report) {
  d->Send(domain::AcknowledgeReport{worker, report});
}

std::string EndReason(const domain::AttemptEnd& end) {
  std::string text = StrCat(ToString(end.cause), " at step ", end.last_step);
  if (!end.message.empty()) StrAppend(&text, ": ", end.message);
  return text;
}

// 1, 2, 4, ... times the class's first pause.
std::int64_t NotBefore(const Decider& d, FailureClass failure, std::int64_t before) {
  const CoreConfig& config = d.config();
  const std::int64_t first_ms = config.backoff_ms * domain::RuleOf(failure).first_pauses;
  if (first_ms <= 0) return 0;
  const auto doublings = static_cast<int>(std::clamp<std::int64_t>(before, 0, 30));
  return d.at_ms() + std::min(config.max_backoff_ms, first_ms << doublings);
}

// Not the run's failure: queued again without limit, unless it never gets further.
void RequeueUncounted(Decider* d, const Run& run, FailureClass failure, const std::string& reason) {
  if (run.lost_in_a_row + 1 >= d->config().max_lost_in_a_row) {
    AbandonCurrentAttempt(d, run.id, reason);
    FinishFailed(d, run.id, failure, StrCat("lost ", run.lost_in_a_row + 1, " times in a row without a new checkpoint; last: ", reason));
    return;
  }
  // The first loss is tried again at once.
  const bool again = failure == FailureClass::kLostMachine && run.lost_in_a_row > 0;
  d->Emit(domain::RunRequeued{run.id, failure, false, reason, again ? NotBefore(*d, failure, run.lost_in_a_row - 1) : 0});
}

// By the rule of the failure's class: domain/failure_rules.h.
void RetryOrFail(Decider* d, const Run& run, FailureClass failure, const std::string& reason) {
  const domain::FailureRule& rule = domain::RuleOf(failure);
  const bool asked = rule.retry == domain::Retry::kIfAsked && run.spec->retries.out_of_memory;
  if (rule.retry == domain::Retry::kNever || (rule.retry == domain::Retry::kIfAsked && !asked)) {
    FinishFailed(d, run.id, failure, failure == FailureClass::kUserError ? reason : StrCat(reason, " (", rule.text, ")"));
    return;
  }
  if (rule.retry == domain::Retry::kAlways) {
    RequeueUncounted(d, run, failure, reason);
    return;
  }
  const std::int64_t limit = run.spec->retries.max_failures;
  if (run.failures + 1 > limit) {
    FinishFailed(d, run.id, failure, StrCat(reason, " (failure ", run.failures + 1, ", at most ", limit, " are retried)"));
    return;
  }
  d->Emit(domain::RunRequeued{run.id, failure, true, StrCat(reason, " (failure ", run.failures + 1, " of ", limit, " that are retried)"),
                              NotBefore(*d, failure, run.failures)});
}
void RetryOrFail(Decider* d, const Run& run, const domain::AttemptEnd& end) { RetryOrFail(d, run, ClassOf(end.cause), EndReason(end)); }

// A run that was being stopped: the stop decides, unless the attempt completed or failed for good by itself.
void EndStopped(Decider* d, const Run& run, const domain::AttemptEnd& end) {
  const Stop stop = *run.stop;
  switch (stop.kind) {
    case StopKind::kHalt: FinishHalted(d, run.id, true); return;
    case StopKind::kCancel: FinishCancelled(d, run.id, stop.reason); return;
    case StopKind::kStall: RetryOrFail(d, run, FailureClass::kStalled, stop.reason); return;
    case StopKind::kTimeLimit: FinishFailed(d, run.id, FailureClass::kTimeLimit, stop.reason); return;
    case StopKind::kPause:
    case StopKind::kRung:
      if (end.cause == EndCause::kUserError) {
        RetryOrFail(d, run, end);
      } else {
        d->Emit(domain::RunPaused{run.id, stop.reason, stop.kind == StopKind::kRung});
      }
      return;
    case StopKind::kPreempt:
      if (ClassOf(end.cause) == FailureClass::kNone || ClassOf(end.cause) == FailureClass::kLostMachine) {
        d->Emit(domain::RunRequeued{run.id, FailureClass::kNone, false, stop.reason});
      } else {
        RetryOrFail(d, run, end);
      }
      return;
  }
}

bool SaysMoreThanLost(EndCause cause) {
  return cause != EndCause::kMachineLost && cause != EndCause::kFenced && cause != EndCause::kStopped;
}

void ForgetMembersButHead(Decider* d, const Attempt& attempt) {
  for (std::size_t i = 1; i < attempt.gang.members.size(); ++i) {
    const WorkerId& worker = attempt.gang.members[i].worker;
    if (IsReporting(d->state(), worker)) d->Send(domain::ForgetAttempt{worker, attempt.key});
  }
}

bool WaitsForJudgement(const Run& run, EndCause cause) {
  if (run.stop.has_value() && (run.stop->kind == StopKind::kHalt || run.verdict.has_value())) return false;
  if (cause == EndCause::kCompleted) return true;
  return cause == EndCause::kNonFinite && !(run.stop.has_value() && run.stop->kind == StopKind::kCancel);
}

}  // namespace

void EndCurrentAttempt(Decider* d, const RunId& id, const domain::AttemptEnd& end) {
  const std::shared_ptr<const Attempt> attempt = d->state().FindRun(id)->current;
  ENTRAIN_CHECK_MSG(attempt != nullptr, id.value());
  // It was queued again while a machine was silent, and now it turns out what the attempt came to.
  if (d->state().FindRun(id)->state == RunState::kQueued && SaysMoreThanLost(end.cause)) d->Emit(domain::AttemptReclaimed{attempt->key});
  d->Emit(domain::AttemptClosed{attempt->key, end});
  d->AskForPlacement();
  QuarantineIfStruck(d, attempt->gang.members.front().worker);
  if (end.cause == EndCause::kMachineLost) ForgetMembersButHead(d, *attempt);
  const Run run = *d->state().FindRun(id);
  if (WaitsForJudgement(run, end.cause)) {
    d->Send(domain::JudgeThrough{attempt->key, end.last_step});
    // Its host is gone already (the report came by way of another connection's end): nobody will send the samples.
    if (d->state().FindWorker(attempt->gang.members.front().worker)->silent) FinishPending(d, id, false, "its machine is silent");
    return;
  }
  if (run.stop.has_value()) {
    EndStopped(d, run, end);
  } else if (run.state != RunState::kQueued) {
    RetryOrFail(d, run, end);
  }
}

void AbandonCurrentAttempt(Decider* d, const RunId& id, const std::string& why) {
  const std::shared_ptr<const Attempt> attempt = d->state().FindRun(id)->current;
  if (attempt == nullptr) return;
  domain::AttemptEnd end;
  end.cause = EndCause::kMachineLost;
  end.last_step = LastKnownStep(*d->state().FindRun(id));
  end.message = why;
  d->Emit(domain::AttemptClosed{attempt->key, end});
  for (const domain::GangMember& member : attempt->gang.members) {
    if (IsReporting(d->state(), member.worker)) d->Send(domain::ForgetAttempt{member.worker, attempt->key});
  }
}

void LoseMachineOf(Decider* d, const RunId& id, const std::string& why) {
  const Run run = *d->state().FindRun(id);
  if (run.state == RunState::kQueued) return;  // another of its machines is silent already
  if (run.state != RunState::kStopping) {
    RequeueUncounted(d, run, FailureClass::kLostMachine, why);
    return;
  }
  AbandonCurrentAttempt(d, id, why);
  domain::AttemptEnd lost;
  lost.cause = EndCause::kMachineLost;
  lost.message = why;
  EndStopped(d, run, lost);
}

void On(Decider* d, const domain::AttemptStarted& event) {
  HearFrom(d, event.worker);
  Acknowledge(d, event.worker, event.report);
  if (CurrentOf(d->state(), event.key) != nullptr) {
    if (d->state().FindRun(event.key.run)->state == RunState::kStarting) d->Emit(domain::RunStarted{event.key});
  } else if (!IsCurrent(d->state(), event.key)) {
    d->Send(domain::ForgetAttempt{event.worker, event.key});
  }
}

void On(Decider* d, const domain::AttemptEnded& event) {
  HearFrom(d, event.worker);
  Acknowledge(d, event.worker, event.report);
  if (const Attempt* current = CurrentOf(d->state(), event.key)) {
    if (current->gang.members.front().worker != event.worker) return;  // the head speaks for the gang
    EndCurrentAttempt(d, event.key.run, event.end);
  }
  // What it held here it holds no more, whatever became of its run.
  const Attempt* attempt = d->state().FindAttempt(event.key);
  if (attempt == nullptr || std::count(attempt->holds.begin(), attempt->holds.end(), event.worker) == 0) return;
  d->Emit(domain::MemberReleased{event.key, event.worker});
  d->AskForPlacement();
}

void On(Decider* d, const domain::CheckpointPublished& event) {
  HearFrom(d, event.worker);
  Acknowledge(d, event.worker, event.report);
  if (!IsCurrent(d->state(), event.key) || event.checkpoint.attempt != event.key.attempt) return;
  const Run& run = *d->state().FindRun(event.key.run);
  if (IsFinal(run.state) || event.checkpoint.path.empty()) return;
  // A second report of the same, or one overtaken by a newer.
  if (!run.checkpoints.empty() && run.checkpoints.back().step >= event.checkpoint.step) return;
  d->Emit(domain::CheckpointRecorded{run.id, event.checkpoint});
}

}  // namespace entrain::core
