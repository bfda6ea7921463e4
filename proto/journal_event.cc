#include <array>
#include <variant>

#include "base/status_macros.h"
#include "base/strings.h"
#include "proto/journal.h"
#include "proto/journal_parts.h"

namespace entrain::journal {
namespace {

using domain::RunAction;

std::string_view ToString(RunAction action) {
  switch (action) {
    case RunAction::kStop: return "stop";
    case RunAction::kPause: return "pause";
    case RunAction::kResume: return "resume";
  }
  return "";
}

absl::Status DecodeAction(const std::string& text, RunAction* out) {
  for (const RunAction action : {RunAction::kStop, RunAction::kPause, RunAction::kResume}) {
    if (ToString(action) == text) {
      *out = action;
      return absl::OkStatus();
    }
  }
  return UnknownText("act_on_run.action", text);
}

void Put(const domain::SubmitSweep& body, v1::Event* out) {
  v1::SubmitSweep* to = out->mutable_submit_sweep();
  to->set_request(body.request);
  to->set_proposed_id(body.proposed_id.value());
  to->set_idempotency_key(body.idempotency_key);
  Encode(body.spec, to->mutable_spec());
}
void Put(const domain::ActOnRun& body, v1::Event* out) {
  v1::ActOnRun* to = out->mutable_act_on_run();
  to->set_request(body.request);
  to->set_run(body.run.value());
  to->set_action(std::string(ToString(body.action)));
  to->set_by(body.by);
}
void Put(const domain::RetryRun& body, v1::Event* out) {
  v1::RetryRun* to = out->mutable_retry_run();
  to->set_request(body.request);
  to->set_run(body.run.value());
  to->set_by(body.by);
}
void Put(const domain::WorkerJoined& body, v1::Event* out) {
  v1::WorkerJoined* to = out->mutable_worker_joined();
  Encode(body.info, to->mutable_info());
  to->set_incarnation(body.incarnation);
  for (const domain::AttemptKey& key : body.live_attempts) Encode(key, to->add_live_attempts());
}
void Put(const domain::WorkerHeartbeat& body, v1::Event* out) {
  out->mutable_worker_heartbeat()->set_worker(body.worker.value());
  out->mutable_worker_heartbeat()->set_draining(body.draining);
}
void Put(const domain::WorkerDisconnected& body, v1::Event* out) {
  out->mutable_worker_disconnected()->set_worker(body.worker.value());
  out->mutable_worker_disconnected()->set_incarnation(body.incarnation);
}

template <typename Body, typename Message>
void PutReport(const Body& body, Message* to) {
  to->set_worker(body.worker.value());
  to->set_report(body.report);
  Encode(body.key, to->mutable_key());
}
void Put(const domain::AttemptStarted& body, v1::Event* out) { PutReport(body, out->mutable_attempt_started()); }
void Put(const domain::AttemptEnded& body, v1::Event* out) {
  PutReport(body, out->mutable_attempt_ended());
  Encode(body.end, out->mutable_attempt_ended()->mutable_end());
}
void Put(const domain::CheckpointPublished& body, v1::Event* out) {
  PutReport(body, out->mutable_checkpoint_published());
  Encode(body.checkpoint, out->mutable_checkpoint_published()->mutable_checkpoint());
}
void Put(const domain::VerdictReached& body, v1::Event* out) {
  out->mutable_verdict_reached()->set_run(body.run.value());
  Encode(body.verdict, out->mutable_verdict_reached()->mutable_verdict());
}
void Put(const domain::RunJudged& body, v1::Event* out) {
  Encode(body.key, out->mutable_run_judged()->mutable_key());
  out->mutable_run_judged()->set_through_step(body.through_step);
}
void Put(const domain::RungReached& body, v1::Event* out) {
  v1::RungReached* to = out->mutable_rung_reached();
  Encode(body.key, to->mutable_key());
  to->set_rung(body.rung);
  to->set_step(body.step);
  to->set_value(body.value);
}
void Put(const domain::RunProgressed& body, v1::Event* out) { Encode(body.key, out->mutable_run_progressed()->mutable_key()); }
void Put(const domain::ActOnWorker& body, v1::Event* out) {
  v1::ActOnWorker* to = out->mutable_act_on_worker();
  to->set_request(body.request);
  to->set_worker(body.worker.value());
  to->set_action(std::string(domain::ToString(body.action)));
  to->set_by(body.by);
  to->set_reason(body.reason);
}
void Put(const domain::RetireCheckpoints& body, v1::Event* out) {
  v1::RetireCheckpoints* to = out->mutable_retire_checkpoints();
  to->set_run(body.run.value());
  for (const domain::CheckpointRef& ref : body.checkpoints) {
    v1::CheckpointRef* added = to->add_checkpoints();
    added->set_attempt(ref.attempt);
    added->set_step(ref.step);
  }
  to->set_reason(body.reason);
}
void Put(const domain::ReleaseSweep& body, v1::Event* out) {
  v1::ReleaseSweep* to = out->mutable_release_sweep();
  to->set_request(body.request);
  to->set_sweep(body.sweep.value());
  to->set_by(body.by);
}
void Put(const domain::StoreRestored& body, v1::Event* out) {
  v1::StoreRestored* to = out->mutable_store_restored();
  to->set_highest_attempt(body.highest_attempt);
  for (const domain::StoreRestored::Samples& samples : body.samples) {
    v1::StoreRestored::Samples* added = to->add_samples();
    added->set_run(samples.run.value());
    added->set_through_step(samples.through_step);
  }
  to->set_reason(body.reason);
}
void Put(const domain::Tick&, v1::Event* out) { out->mutable_tick(); }

absl::Status Take(const v1::SubmitSweep& from, domain::SubmitSweep* out) {
  out->request = from.request();
  out->proposed_id = SweepId(from.proposed_id());
  out->idempotency_key = from.idempotency_key();
  return Decode(from.spec(), &out->spec);
}
absl::Status Take(const v1::ActOnRun& from, domain::ActOnRun* out) {
  out->request = from.request();
  out->run = RunId(from.run());
  out->by = from.by();
  return DecodeAction(from.action(), &out->action);
}
absl::Status Take(const v1::RetryRun& from, domain::RetryRun* out) {
  *out = {from.request(), RunId(from.run()), from.by()};
  return absl::OkStatus();
}
absl::Status Take(const v1::WorkerJoined& from, domain::WorkerJoined* out) {
  out->incarnation = from.incarnation();
  for (const v1::AttemptKey& key : from.live_attempts()) {
    ENTRAIN_RETURN_IF_ERROR(Decode(key, &out->live_attempts.emplace_back()));
  }
  return Decode(from.info(), &out->info);
}
absl::Status Take(const v1::WorkerHeartbeat& from, domain::WorkerHeartbeat* out) {
  *out = {WorkerId(from.worker()), from.draining()};
  return absl::OkStatus();
}
absl::Status Take(const v1::WorkerDisconnected& from, domain::WorkerDisconnected* out) {
  *out = {WorkerId(from.worker()), from.incarnation()};
  return absl::OkStatus();
}

template <typename Message, typename Body>
absl::Status TakeReport(const Message& from, Body* out) {
  out->worker = WorkerId(from.worker());
  out->report = from.report();
  return Decode(from.key(), &out->key);
}
absl::Status Take(const v1::AttemptStarted& from, domain::AttemptStarted* out) { return TakeReport(from, out); }
absl::Status Take(const v1::AttemptEnded& from, domain::AttemptEnded* out) {
  ENTRAIN_RETURN_IF_ERROR(TakeReport(from, out));
  return Decode(from.end(), &out->end);
}
absl::Status Take(const v1::CheckpointPublished& from, domain::CheckpointPublished* out) {
  ENTRAIN_RETURN_IF_ERROR(TakeReport(from, out));
  return Decode(from.checkpoint(), &out->checkpoint);
}
absl::Status Take(const v1::VerdictReached& from, domain::VerdictReached* out) {
  out->run = RunId(from.run());
  return Decode(from.verdict(), &out->verdict);
}
absl::Status Take(const v1::RunJudged& from, domain::RunJudged* out) {
  out->through_step = from.through_step();
  return Decode(from.key(), &out->key);
}

absl::Status Take(const v1::RungReached& from, domain::RungReached* out) {
  out->rung = from.rung();
  out->step = from.step();
  out->value = from.value();
  return Decode(from.key(), &out->key);
}
absl::Status Take(const v1::RunProgressed& from, domain::RunProgressed* out) { return Decode(from.key(), &out->key); }
absl::Status Take(const v1::ActOnWorker& from, domain::ActOnWorker* out) {
  const auto action = domain::ParseWorkerAction(from.action());
  if (!action.has_value()) return UnknownText("act_on_worker.action", from.action());
  *out = {from.request(), WorkerId(from.worker()), *action, from.by(), from.reason()};
  return absl::OkStatus();
}

absl::Status Take(const v1::RetireCheckpoints& from, domain::RetireCheckpoints* out) {
  out->run = RunId(from.run());
  out->reason = from.reason();
  for (const v1::CheckpointRef& ref : from.checkpoints()) out->checkpoints.push_back({ref.attempt(), ref.step()});
  return absl::OkStatus();
}
absl::Status Take(const v1::ReleaseSweep& from, domain::ReleaseSweep* out) {
  *out = {from.request(), SweepId(from.sweep()), from.by()};
  return absl::OkStatus();
}
absl::Status Take(const v1::StoreRestored& from, domain::StoreRestored* out) {
  out->highest_attempt = from.highest_attempt();
  out->reason = from.reason();
  for (const v1::StoreRestored::Samples& samples : from.samples()) out->samples.push_back({RunId(samples.run()), samples.through_step()});
  return absl::OkStatus();
}

template <typename Body, typename Message>
absl::Status TakeAs(const Message& message, domain::Event* event) {
  return Take(message, &event->body.template emplace<Body>());
}

absl::Status TakeBody(const v1::Event& from, domain::Event* event) {
  switch (from.body_case()) {
    case v1::Event::kSubmitSweep: return TakeAs<domain::SubmitSweep>(from.submit_sweep(), event);
    case v1::Event::kActOnRun: return TakeAs<domain::ActOnRun>(from.act_on_run(), event);
    case v1::Event::kRetryRun: return TakeAs<domain::RetryRun>(from.retry_run(), event);
    case v1::Event::kWorkerJoined: return TakeAs<domain::WorkerJoined>(from.worker_joined(), event);
    case v1::Event::kWorkerHeartbeat: return TakeAs<domain::WorkerHeartbeat>(from.worker_heartbeat(), event);
    case v1::Event::kWorkerDisconnected: return TakeAs<domain::WorkerDisconnected>(from.worker_disconnected(), event);
    case v1::Event::kAttemptStarted: return TakeAs<domain::AttemptStarted>(from.attempt_started(), event);
    case v1::Event::kAttemptEnded: return TakeAs<domain::AttemptEnded>(from.attempt_ended(), event);
    case v1::Event::kCheckpointPublished: return TakeAs<domain::CheckpointPublished>(from.checkpoint_published(), event);
    case v1::Event::kVerdictReached: return TakeAs<domain::VerdictReached>(from.verdict_reached(), event);
    case v1::Event::kRunJudged: return TakeAs<domain::RunJudged>(from.run_judged(), event);
    case v1::Event::kRungReached: return TakeAs<domain::RungReached>(from.rung_reached(), event);
    case v1::Event::kRunProgressed: return TakeAs<domain::RunProgressed>(from.run_progressed(), event);
    case v1::Event::kActOnWorker: return TakeAs<domain::ActOnWorker>(from.act_on_worker(), event);
    case v1::Event::kRetireCheckpoints: return TakeAs<domain::RetireCheckpoints>(from.retire_checkpoints(), event);
    case v1::Event::kReleaseSweep: return TakeAs<domain::ReleaseSweep>(from.release_sweep(), event);
    case v1::Event::kStoreRestored: return TakeAs<domain::StoreRestored>(from.store_restored(), event);
    case v1::Event::kTick: event->body.emplace<domain::Tick>(); return absl::OkStatus();
    case v1::Event::BODY_NOT_SET: break;
  }
  return absl::DataLossError("journal: an event of a kind that this build does not know");
}

}  // namespace

std::string EncodeEvent(const domain::Event& event) {
  v1::Event out;
  out.set_at_ms(event.at_ms);
  out.set_wall_ms(event.wall_ms);
  std::visit([&](const auto& body) { Put(body, &out); }, event.body);
  return out.SerializeAsString();
}

absl::StatusOr<domain::Event> DecodeEvent(std::string_view bytes) {
  v1::Event message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::DataLossError(StrCat("journal: ", bytes.size(), " bytes are not an event"));
  }
  domain::Event event;
  event.at_ms = message.at_ms();
  event.wall_ms = message.wall_ms();
  ENTRAIN_RETURN_IF_ERROR(TakeBody(message, &event));
  return event;
}

std::string_view KindOf(const domain::Event& event) {
  static constexpr std::array kNames = {"submit_sweep",    "act_on_run",    "retry_run",
                                        "worker_joined",   "worker_heartbeat", "worker_disconnected",
                                        "attempt_started", "attempt_ended", "checkpoint_published",
                                        "verdict_reached", "run_judged",    "rung_reached", "run_progressed", "act_on_worker",
                                        "retire_checkpoints", "release_sweep", "store_restored", "tick"};
  static_assert(kNames.size() == std::variant_size_v<decltype(domain::Event::body)>);
  return kNames[event.body.index()];
}

}  // namespace entrain::journal
