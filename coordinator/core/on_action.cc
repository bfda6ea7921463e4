// What people ask for one run: stop, pause, resume. Asking twice is the same as asking once.
#include "base/strings.h"
#include "coordinator/core/decider.h"

namespace entrain::core {
namespace {

using domain::RunAction;
using domain::RunState;
using domain::StopKind;

absl::Status Refuse(const Run& run, std::string_view wish) {
  return absl::FailedPreconditionError(StrCat("run ", run.id.value(), " cannot be ", wish, ": it is ", ToString(run.state),
                                              run.pending_end.has_value() ? " and has completed" : "",
                                              run.reason.empty() ? "" : StrCat(" (", run.reason, ")")));
}

// Stops that a person's wish replaces.
bool GivesWay(StopKind kind) {
  return kind == StopKind::kPause || kind == StopKind::kPreempt || kind == StopKind::kRung || kind == StopKind::kStall;
}

absl::Status StopRun(Decider* d, const Run& run, const std::string& by) {
  const std::string reason = StrCat("stopped by ", by);
  if (run.state == RunState::kCancelled) return absl::OkStatus();
  if (IsFinal(run.state)) return Refuse(run, "stopped");
  if (run.pending_end.has_value()) {
    // It trained its last step; who does not want to wait for the rest of its samples gets the result as it is.
    FinishPending(d, run.id, false, StrCat(by, " asked not to wait for its last samples"));
  } else if (run.state == RunState::kQueued || run.state == RunState::kPaused) {
    AbandonCurrentAttempt(d, run.id, reason);
    FinishCancelled(d, run.id, reason);
  } else if (!run.stop.has_value() || GivesWay(run.stop->kind)) {
    StopGang(d, run, StopKind::kCancel, reason);
  }
  d->AskForPlacement();
  return absl::OkStatus();
}

absl::Status PauseRun(Decider* d, const Run& run, const std::string& by) {
  const std::string reason = StrCat("paused by ", by);
  if (run.state == RunState::kPaused) {
    if (run.paused_at_rung) d->Emit(domain::RunPaused{run.id, reason});
    return absl::OkStatus();
  }
  if (IsFinal(run.state) || run.pending_end.has_value()) return Refuse(run, "paused");
  if (run.state == RunState::kQueued) {
    AbandonCurrentAttempt(d, run.id, reason);
    d->Emit(domain::RunPaused{run.id, reason});
    d->AskForPlacement();
    return absl::OkStatus();
  }
  if (run.stop.has_value() && run.stop->kind == StopKind::kPause) return absl::OkStatus();
  if (run.stop.has_value() && !GivesWay(run.stop->kind)) return Refuse(run, "paused");
  StopGang(d, run, StopKind::kPause, reason);
  return absl::OkStatus();
}

absl::Status ResumeRun(Decider* d, const Run& run, const std::string& by) {
  if (IsFinal(run.state)) return Refuse(run, "resumed");
  if (run.held) {
    ResumeFromRung(d, run, by);
    return absl::OkStatus();
  }
  if (run.state == RunState::kPaused) {
    d->Emit(domain::RunResumed{run.id, by});
    d->AskForPlacement();
    return absl::OkStatus();
  }
  // It trains, or it completed before the pause reached it: nothing is held up.
  if (run.state != RunState::kStopping || run.pending_end.has_value()) return absl::OkStatus();
  if (run.stop->kind == StopKind::kPreempt || run.stop->kind == StopKind::kStall) return absl::OkStatus();
  if (run.stop->kind != StopKind::kPause) return Refuse(run, "resumed");
  // It is still on its way to the pause: it goes back to the queue from there.
  StopGang(d, run, StopKind::kPreempt, StrCat("resumed by ", by, " before it was paused"));
  return absl::OkStatus();
}

}  // namespace

domain::StopMode ModeOf(StopKind kind) { return kind == StopKind::kStall ? domain::StopMode::kNow : domain::StopMode::kCheckpoint; }

void StopGang(Decider* d, const Run& run, StopKind kind, const std::string& reason) {
  d->Emit(domain::StopDecided{run.current->key, kind, reason});
  d->Send(domain::StopAttempt{run.current->gang.members.front().worker, run.current->key, ModeOf(kind), reason});
}

void On(Decider* d, const domain::ActOnRun& event) {
  const Run* found = d->state().FindRun(event.run);
  if (found == nullptr) {
    d->Answer(event.request, absl::NotFoundError(StrCat("no run ", event.run.value())));
    return;
  }
  const Run run = *found;
  const std::string by = event.by.empty() ? "someone unnamed" : event.by;
  absl::Status status;
  switch (event.action) {
    case RunAction::kStop: status = StopRun(d, run, by); break;
    case RunAction::kPause: status = PauseRun(d, run, by); break;
    case RunAction::kResume: status = ResumeRun(d, run, by); break;
  }
  d->Answer(event.request, status, event.run.value());
}

}  // namespace entrain::core
