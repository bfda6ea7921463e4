#include <google/protobuf/arena.h>

#include <array>
#include <cstddef>
#include <type_traits>

#include "base/check.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "proto/journal.h"
#include "proto/journal_parts.h"

namespace entrain::journal {
namespace {

using domain::StopKind;

std::string_view ToString(StopKind kind) {
  switch (kind) {
    case StopKind::kHalt: return "halt";
    case StopKind::kCancel: return "cancel";
    case StopKind::kPause: return "pause";
    case StopKind::kPreempt: return "preempt";
    case StopKind::kStall: return "stall";
    case StopKind::kTimeLimit: return "time_limit";
    case StopKind::kRung: return "rung";
  }
  return "";
}

absl::Status DecodeStopKind(const std::string& text, StopKind* out) {
  for (const StopKind kind : {StopKind::kHalt, StopKind::kCancel, StopKind::kPause, StopKind::kPreempt, StopKind::kStall, StopKind::kTimeLimit,
                              StopKind::kRung}) {
    if (ToString(kind) == text) {
      *out = kind;
      return absl::OkStatus();
    }
  }
  return UnknownText("stop_decided.kind", text);
}

absl::Status DecodeFailure(const std::string& text, domain::FailureClass* out) {
  const auto failure = domain::ParseFailureClass(text);
  if (!failure) return UnknownText("failure", text);
  *out = *failure;
  return absl::OkStatus();
}

// One overload a kind: the fact's body into its place in the message.
void Put(const domain::SweepAdmitted& body, v1::Fact* out) {
  v1::SweepAdmitted* to = out->mutable_sweep_admitted();
  to->set_sweep(body.sweep.value());
  to->set_idempotency_key(body.idempotency_key);
  Encode(body.spec, to->mutable_spec());
}
void Put(const domain::RunRetried& body, v1::Fact* out) {
  v1::RunRetried* to = out->mutable_run_retried();
  to->set_previous(body.previous.value());
  to->set_run(body.run.value());
  to->set_by(body.by);
}
void Put(const domain::RunRescued& body, v1::Fact* out) {
  v1::RunRescued* to = out->mutable_run_rescued();
  to->set_previous(body.previous.value());
  to->set_run(body.run.value());
  Encode(body.from, to->mutable_from());
}
void Put(const domain::WorkerRegistered& body, v1::Fact* out) {
  Encode(body.info, out->mutable_worker_registered()->mutable_info());
  out->mutable_worker_registered()->set_incarnation(body.incarnation);
}
void Put(const domain::WorkerSilent& body, v1::Fact* out) {
  out->mutable_worker_silent()->set_worker(body.worker.value());
}
void Put(const domain::WorkerDraining& body, v1::Fact* out) {
  out->mutable_worker_draining()->set_worker(body.worker.value());
  out->mutable_worker_draining()->set_draining(body.draining);
}
void Put(const domain::RunPlaced& body, v1::Fact* out) {
  v1::RunPlaced* to = out->mutable_run_placed();
  Encode(body.key, to->mutable_key());
  Encode(body.gang, to->mutable_gang());
  Encode(body.resume_from, to->mutable_resume_from());
}
void Put(const domain::RunStarted& body, v1::Fact* out) { Encode(body.key, out->mutable_run_started()->mutable_key()); }
void Put(const domain::CheckpointRecorded& body, v1::Fact* out) {
  out->mutable_checkpoint_recorded()->set_run(body.run.value());
  Encode(body.checkpoint, out->mutable_checkpoint_recorded()->mutable_checkpoint());
}
void Put(const domain::StopDecided& body, v1::Fact* out) {
  v1::StopDecided* to = out->mutable_stop_decided();
  Encode(body.key, to->mutable_key());
  to->set_kind(std::string(ToString(body.kind)));
  to->set_reason(body.reason);
}
void Put(const domain::VerdictRecorded& body, v1::Fact* out) {
  out->mutable_verdict_recorded()->set_run(body.run.value());
  Encode(body.verdict, out->mutable_verdict_recorded()->mutable_verdict());
}
void Put(const domain::AttemptClosed& body, v1::Fact* out) {
  Encode(body.key, out->mutable_attempt_closed()->mutable_key());
  Encode(body.end, out->mutable_attempt_closed()->mutable_end());
}
void Put(const domain::RunRequeued& body, v1::Fact* out) {
  v1::RunRequeued* to = out->mutable_run_requeued();
  to->set_run(body.run.value());
  to->set_failure(std::string(domain::ToString(body.failure)));
  to->set_counts_as_failure(body.counts_as_failure);
  to->set_not_before_ms(body.not_before_ms);
  to->set_reason(body.reason);
}
void Put(const domain::RunPaused& body, v1::Fact* out) {
  out->mutable_run_paused()->set_run(body.run.value());
  out->mutable_run_paused()->set_reason(body.reason);
  out->mutable_run_paused()->set_at_rung(body.at_rung);
}
void Put(const domain::RunResumed& body, v1::Fact* out) {
  out->mutable_run_resumed()->set_run(body.run.value());
  out->mutable_run_resumed()->set_by(body.by);
}
void Put(const domain::RunFinished& body, v1::Fact* out) {
  v1::RunFinished* to = out->mutable_run_finished();
  to->set_run(body.run.value());
  to->set_state(std::string(domain::ToString(body.state)));
  to->set_halt_reason(std::string(domain::ToString(body.halt_reason)));
  to->set_failure(std::string(domain::ToString(body.failure)));
  to->set_reason(body.reason);
  to->set_result_step(body.result_step);
  to->set_fully_judged(body.fully_judged);
}
void Put(const domain::WaitReasonChanged& body, v1::Fact* out) {
  v1::WaitReasonChanged* to = out->mutable_wait_reason_changed();
  to->set_run(body.run.value());
  to->set_never(body.never);
  to->set_reason(body.reason);
}
void Put(const domain::MemberReleased& body, v1::Fact* out) {
  Encode(body.key, out->mutable_member_released()->mutable_key());
  out->mutable_member_released()->set_worker(body.worker.value());
}
void Put(const domain::AttemptReclaimed& body, v1::Fact* out) {
  Encode(body.key, out->mutable_attempt_reclaimed()->mutable_key());
}
void Put(const domain::RunAged& body, v1::Fact* out) {
  out->mutable_run_aged()->set_run(body.run.value());
  out->mutable_run_aged()->set_reason(body.reason);
}
void Put(const domain::RunReserved& body, v1::Fact* out) {
  v1::RunReserved* to = out->mutable_run_reserved();
  to->set_run(body.run.value());
  for (const WorkerId& worker : body.workers) to->add_workers(worker.value());
  to->set_reason(body.reason);
}
void Put(const domain::WorkerQuarantined& body, v1::Fact* out) {
  v1::WorkerQuarantined* to = out->mutable_worker_quarantined();
  to->set_worker(body.worker.value());
  to->set_reason(body.reason);
  to->set_until_ms(body.until_ms);
}
void Put(const domain::WorkerReleased& body, v1::Fact* out) {
  out->mutable_worker_released()->set_worker(body.worker.value());
  out->mutable_worker_released()->set_reason(body.reason);
}
void Put(const domain::WorkerForgotten& body, v1::Fact* out) {
  out->mutable_worker_forgotten()->set_worker(body.worker.value());
  out->mutable_worker_forgotten()->set_by(body.by);
}
void Put(const domain::RungRecorded& body, v1::Fact* out) {
  v1::RungRecorded* to = out->mutable_rung_recorded();
  to->set_run(body.run.value());
  to->set_rung(body.rung);
  to->set_step(body.step);
  to->set_value(body.value);
}
void Put(const domain::RungDecided& body, v1::Fact* out) {
  v1::RungDecided* to = out->mutable_rung_decided();
  to->set_run(body.run.value());
  to->set_rung(body.rung);
  to->set_outcome(ToString(body.outcome));
  to->set_reason(body.reason);
}
void Put(const domain::CheckpointsRetired& body, v1::Fact* out) {
  v1::CheckpointsRetired* to = out->mutable_checkpoints_retired();
  to->set_run(body.run.value());
  for (const domain::Checkpoint& checkpoint : body.checkpoints) Encode(checkpoint, to->add_checkpoints());
  to->set_reason(body.reason);
}
void Put(const domain::SweepReleased& body, v1::Fact* out) {
  out->mutable_sweep_released()->set_sweep(body.sweep.value());
  out->mutable_sweep_released()->set_by(body.by);
}
void Put(const domain::AttemptFloorRaised& body, v1::Fact* out) {
  out->mutable_attempt_floor_raised()->set_floor(body.floor);
  out->mutable_attempt_floor_raised()->set_reason(body.reason);
}
void Put(const domain::ProgressHeard&, v1::Fact*) { ENTRAIN_CHECK_MSG(false, "a transient fact is never stored"); }
void Put(const domain::WorkerHeard&, v1::Fact*) { ENTRAIN_CHECK_MSG(false, "a transient fact is never stored"); }
void Put(const domain::TermStarted&, v1::Fact*) { ENTRAIN_CHECK_MSG(false, "a transient fact is never stored"); }

absl::Status Take(const v1::SweepAdmitted& from, domain::SweepAdmitted* out) {
  out->sweep = SweepId(from.sweep());
  out->idempotency_key = from.idempotency_key();
  return Decode(from.spec(), &out->spec);
}
absl::Status Take(const v1::RunRetried& from, domain::RunRetried* out) {
  *out = {RunId(from.previous()), RunId(from.run()), from.by()};
  return absl::OkStatus();
}
absl::Status Take(const v1::WorkerRegistered& from, domain::WorkerRegistered* out) {
  out->incarnation = from.incarnation();
  return Decode(from.info(), &out->info);
}
absl::Status Take(const v1::WorkerSilent& from, domain::WorkerSilent* out) {
  out->worker = WorkerId(from.worker());
  return absl::OkStatus();
}
absl::Status Take(const v1::WorkerDraining& from, domain::WorkerDraining* out) {
  *out = {WorkerId(from.worker()), from.draining()};
  return absl::OkStatus();
}
absl::Status Take(const v1::RunPlaced& from, domain::RunPlaced* out) {
  ENTRAIN_RETURN_IF_ERROR(Decode(from.key(), &out->key));
  ENTRAIN_RETURN_IF_ERROR(Decode(from.gang(), &out->gang));
  return Decode(from.resume_from(), &out->resume_from);
}
absl::Status Take(const v1::RunStarted& from, domain::RunStarted* out) { return Decode(from.key(), &out->key); }
absl::Status Take(const v1::CheckpointRecorded& from, domain::CheckpointRecorded* out) {
  out->run = RunId(from.run());
  return Decode(from.checkpoint(), &out->checkpoint);
}
absl::Status Take(const v1::StopDecided& from, domain::StopDecided* out) {
  ENTRAIN_RETURN_IF_ERROR(Decode(from.key(), &out->key));
  out->reason = from.reason();
  return DecodeStopKind(from.kind(), &out->kind);
}
absl::Status Take(const v1::VerdictRecorded& from, domain::VerdictRecorded* out) {
  out->run = RunId(from.run());
  return Decode(from.verdict(), &out->verdict);
}
absl::Status Take(const v1::AttemptClosed& from, domain::AttemptClosed* out) {
  ENTRAIN_RETURN_IF_ERROR(Decode(from.key(), &out->key));
  return Decode(from.end(), &out->end);
}
absl::Status Take(const v1::RunRequeued& from, domain::RunRequeued* out) {
  out->run = RunId(from.run());
  out->counts_as_failure = from.counts_as_failure();
  out->not_before_ms = from.not_before_ms();
  out->reason = from.reason();
  return DecodeFailure(from.failure(), &out->failure);
}
absl::Status Take(const v1::RunPaused& from, domain::RunPaused* out) {
  *out = {RunId(from.run()), from.reason(), from.at_rung()};
  return absl::OkStatus();
}
absl::Status Take(const v1::RunResumed& from, domain::RunResumed* out) {
  *out = {RunId(from.run()), from.by()};
  return absl::OkStatus();
}
absl::Status Take(const v1::RunFinished& from, domain::RunFinished* out) {
  const auto state = domain::ParseRunState(from.state());
  if (!state) return UnknownText("run_finished.state", from.state());
  const auto halt_reason = domain::ParseHaltReason(from.halt_reason());
  if (!halt_reason) return UnknownText("run_finished.halt_reason", from.halt_reason());
  out->run = RunId(from.run());
  out->state = *state;
  out->halt_reason = *halt_reason;
  out->reason = from.reason();
  out->result_step = from.result_step();
  out->fully_judged = from.fully_judged();
  return DecodeFailure(from.failure(), &out->failure);
}
absl::Status Take(const v1::WaitReasonChanged& from, domain::WaitReasonChanged* out) {
  *out = {RunId(from.run()), from.never(), from.reason()};
  return absl::OkStatus();
}
absl::Status Take(const v1::RunRescued& from, domain::RunRescued* out) {
  out->previous = RunId(from.previous());
  out->run = RunId(from.run());
  return Decode(from.from(), &out->from);
}
absl::Status Take(const v1::MemberReleased& from, domain::MemberReleased* out) {
  out->worker = WorkerId(from.worker());
  return Decode(from.key(), &out->key);
}
absl::Status Take(const v1::AttemptReclaimed& from, domain::AttemptReclaimed* out) { return Decode(from.key(), &out->key); }

absl::Status Take(const v1::RunAged& from, domain::RunAged* out) {
  *out = {RunId(from.run()), from.reason()};
  return absl::OkStatus();
}
absl::Status Take(const v1::RunReserved& from, domain::RunReserved* out) {
  *out = {RunId(from.run()), {}, from.reason()};
  for (const std::string& worker : from.workers()) out->workers.emplace_back(worker);
  return absl::OkStatus();
}
absl::Status Take(const v1::WorkerQuarantined& from, domain::WorkerQuarantined* out) {
  *out = {WorkerId(from.worker()), from.reason(), from.until_ms()};
  return absl::OkStatus();
}
absl::Status Take(const v1::WorkerReleased& from, domain::WorkerReleased* out) {
  *out = {WorkerId(from.worker()), from.reason()};
  return absl::OkStatus();
}
absl::Status Take(const v1::WorkerForgotten& from, domain::WorkerForgotten* out) {
  *out = {WorkerId(from.worker()), from.by()};
  return absl::OkStatus();
}
absl::Status Take(const v1::RungRecorded& from, domain::RungRecorded* out) {
  *out = {RunId(from.run()), from.rung(), from.step(), from.value()};
  return absl::OkStatus();
}
absl::Status Take(const v1::RungDecided& from, domain::RungDecided* out) {
  *out = {RunId(from.run()), from.rung(), domain::RungOutcome::kNone, from.reason()};
  for (const auto outcome : {domain::RungOutcome::kHeld, domain::RungOutcome::kPromoted, domain::RungOutcome::kPruned}) {
    if (ToString(outcome) == from.outcome()) out->outcome = outcome;
  }
  return out->outcome == domain::RungOutcome::kNone ? UnknownText("rung_decided.outcome", from.outcome()) : absl::OkStatus();
}

absl::Status Take(const v1::CheckpointsRetired& from, domain::CheckpointsRetired* out) {
  out->run = RunId(from.run());
  out->reason = from.reason();
  for (const v1::Checkpoint& checkpoint : from.checkpoints()) {
    ENTRAIN_RETURN_IF_ERROR(Decode(checkpoint, &out->checkpoints.emplace_back()));
  }
  return absl::OkStatus();
}
absl::Status Take(const v1::SweepReleased& from, domain::SweepReleased* out) {
  *out = {SweepId(from.sweep()), from.by()};
  return absl::OkStatus();
}
absl::Status Take(const v1::AttemptFloorRaised& from, domain::AttemptFloorRaised* out) {
  *out = {from.floor(), from.reason()};
  return absl::OkStatus();
}

template <typename Body, typename Message>
absl::Status TakeAs(const Message& message, domain::Fact* fact) {
  return Take(message, &fact->body.template emplace<Body>());
}

absl::Status TakeBody(const v1::Fact& from, domain::Fact* fact) {
  switch (from.body_case()) {
    case v1::Fact::kSweepAdmitted: return TakeAs<domain::SweepAdmitted>(from.sweep_admitted(), fact);
    case v1::Fact::kRunRetried: return TakeAs<domain::RunRetried>(from.run_retried(), fact);
    case v1::Fact::kRunRescued: return TakeAs<domain::RunRescued>(from.run_rescued(), fact);
    case v1::Fact::kWorkerRegistered: return TakeAs<domain::WorkerRegistered>(from.worker_registered(), fact);
    case v1::Fact::kWorkerSilent: return TakeAs<domain::WorkerSilent>(from.worker_silent(), fact);
    case v1::Fact::kWorkerDraining: return TakeAs<domain::WorkerDraining>(from.worker_draining(), fact);
    case v1::Fact::kRunPlaced: return TakeAs<domain::RunPlaced>(from.run_placed(), fact);
    case v1::Fact::kRunStarted: return TakeAs<domain::RunStarted>(from.run_started(), fact);
    case v1::Fact::kCheckpointRecorded: return TakeAs<domain::CheckpointRecorded>(from.checkpoint_recorded(), fact);
    case v1::Fact::kStopDecided: return TakeAs<domain::StopDecided>(from.stop_decided(), fact);
    case v1::Fact::kVerdictRecorded: return TakeAs<domain::VerdictRecorded>(from.verdict_recorded(), fact);
    case v1::Fact::kAttemptClosed: return TakeAs<domain::AttemptClosed>(from.attempt_closed(), fact);
    case v1::Fact::kRunRequeued: return TakeAs<domain::RunRequeued>(from.run_requeued(), fact);
    case v1::Fact::kRunPaused: return TakeAs<domain::RunPaused>(from.run_paused(), fact);
    case v1::Fact::kRunResumed: return TakeAs<domain::RunResumed>(from.run_resumed(), fact);
    case v1::Fact::kRunFinished: return TakeAs<domain::RunFinished>(from.run_finished(), fact);
    case v1::Fact::kWaitReasonChanged: return TakeAs<domain::WaitReasonChanged>(from.wait_reason_changed(), fact);
    case v1::Fact::kMemberReleased: return TakeAs<domain::MemberReleased>(from.member_released(), fact);
    case v1::Fact::kAttemptReclaimed: return TakeAs<domain::AttemptReclaimed>(from.attempt_reclaimed(), fact);
    case v1::Fact::kRunAged: return TakeAs<domain::RunAged>(from.run_aged(), fact);
    case v1::Fact::kRunReserved: return TakeAs<domain::RunReserved>(from.run_reserved(), fact);
    case v1::Fact::kWorkerQuarantined: return TakeAs<domain::WorkerQuarantined>(from.worker_quarantined(), fact);
    case v1::Fact::kWorkerReleased: return TakeAs<domain::WorkerReleased>(from.worker_released(), fact);
    case v1::Fact::kWorkerForgotten: return TakeAs<domain::WorkerForgotten>(from.worker_forgotten(), fact);
    case v1::Fact::kRungRecorded: return TakeAs<domain::RungRecorded>(from.rung_recorded(), fact);
    case v1::Fact::kRungDecided: return TakeAs<domain::RungDecided>(from.rung_decided(), fact);
    case v1::Fact::kCheckpointsRetired: return TakeAs<domain::CheckpointsRetired>(from.checkpoints_retired(), fact);
    case v1::Fact::kSweepReleased: return TakeAs<domain::SweepReleased>(from.sweep_released(), fact);
    case v1::Fact::kAttemptFloorRaised: return TakeAs<domain::AttemptFloorRaised>(from.attempt_floor_raised(), fact);
    case v1::Fact::BODY_NOT_SET: break;
  }
  return absl::DataLossError("journal: a fact of a kind that this build does not know");
}

}  // namespace

std::string EncodeFact(const domain::Fact& fact) {
  v1::Fact out;
  out.set_at_ms(fact.at_ms);
  out.set_wall_ms(fact.wall_ms);
  std::visit([&](const auto& body) { Put(body, &out); }, fact.body);
  return out.SerializeAsString();
}

absl::StatusOr<domain::Fact> DecodeFact(std::string_view bytes) {
  // A sweep is thousands of small messages, and a recovery decodes a thousand sweeps: they share one block.
  alignas(std::max_align_t) static thread_local char block[64 * 1024];
  google::protobuf::ArenaOptions options;
  options.initial_block = block;
  options.initial_block_size = sizeof block;
  google::protobuf::Arena arena(options);
  v1::Fact& message = *google::protobuf::Arena::CreateMessage<v1::Fact>(&arena);
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::DataLossError(StrCat("journal: ", bytes.size(), " bytes are not a fact"));
  }
  domain::Fact fact;
  fact.at_ms = message.at_ms();
  fact.wall_ms = message.wall_ms();
  ENTRAIN_RETURN_IF_ERROR(TakeBody(message, &fact));
  return fact;
}

std::string_view KindOf(const domain::Fact& fact) {
  static constexpr std::array kNames = {
      "sweep_admitted", "run_retried",  "worker_registered", "worker_silent",  "worker_draining", "run_placed",
      "run_started",    "checkpoint_recorded", "stop_decided", "verdict_recorded", "attempt_closed", "run_requeued",
      "run_paused",     "run_resumed",  "run_finished",      "wait_reason_changed",
      "member_released", "attempt_reclaimed", "run_aged", "run_reserved", "worker_quarantined", "worker_released", "rung_recorded",
      "rung_decided", "run_rescued", "worker_forgotten", "checkpoints_retired", "sweep_released", "attempt_floor_raised", "worker_heard", "progress_heard", "term_started"};
  static_assert(kNames.size() == std::variant_size_v<decltype(domain::Fact::body)>);
  return kNames[fact.body.index()];
}

}  // namespace entrain::journal
