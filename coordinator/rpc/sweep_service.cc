#include "coordinator/rpc/sweep_service.h"

#include <algorithm>

#include "base/status_macros.h"
#include "base/strings.h"
#include "coordinator/core/explain.h"
#include "coordinator/rpc/checkpoint_files.h"
#include "coordinator/rpc/limits.h"
#include "coordinator/rpc/messages.h"
#include "coordinator/rpc/sweep_intake.h"
#include "proto/convert.h"
#include "transport/grpc_status.h"

namespace entrain::rpc {
namespace {

constexpr int kSweepIdLength = 8;
constexpr int kKeyLength = 20;

// One sentence a run that no worker could hold.
std::vector<std::string> FitWarnings(const core::State& state, const domain::SweepSpec& spec) {
  std::vector<std::string> warnings;
  if (state.workers.empty()) warnings.push_back("no worker has joined yet; the runs wait");
  for (const domain::RunSpec& run : spec.runs) {
    const core::Wait fit = core::DescribeFit(state, run.resources);
    if (fit.never) warnings.push_back(StrCat(run.label, ": ", fit.reason));
  }
  return warnings;
}

bool AnyNever(const core::State& state, const domain::SweepSpec& spec, std::string* first) {
  for (const domain::RunSpec& run : spec.runs) {
    const core::Wait fit = core::DescribeFit(state, run.resources);
    if (!fit.never) continue;
    *first = StrCat(run.label, ": ", fit.reason);
    return true;
  }
  return false;
}

// Of a sweep, the runs that an action is for; a run named alone gets the core's own answer.
bool Fits(const core::Run& run, domain::RunAction action) {
  const bool paused = run.state == domain::RunState::kPaused;
  if (domain::IsFinal(run.state)) return false;
  // What waits at a rung of early stopping is not the people's to resume, but to pause.
  if (action == domain::RunAction::kResume) return paused && !run.paused_at_rung;
  return action != domain::RunAction::kPause || !paused || run.paused_at_rung;
}

// Whose the targets are; a person may act on his own.
absl::Status MayActOnAll(const Caller& caller, const core::State& state, const Targets& targets) {
  for (const core::Run* run : targets.runs) {
    const core::Sweep* sweep = state.FindSweep(run->sweep);
    if (sweep != nullptr) ENTRAIN_RETURN_IF_ERROR(MayActOn(caller, sweep->spec->owner));
  }
  return absl::OkStatus();
}

// Writes to a peer that takes what it gets.
template <typename Message>
bool WriteTo(grpc::ServerWriter<Message>* writer, StreamPlaces::Place* place, const Message& message) {
  const auto waiting = place->Wait();
  return writer->Write(message);
}

bool MayRetry(const core::Run& run) {
  return run.state == domain::RunState::kFailed || run.state == domain::RunState::kCancelled;
}

}  // namespace

std::string SweepService::NewId(const char* prefix, int length) {
  std::lock_guard<std::mutex> lock(ids_mutex_);
  return StrCat(prefix, context_.ids->Next(length));
}

template <typename Body>
absl::StatusOr<domain::RequestId> SweepService::Send(Body body) {
  const domain::RequestId request = context_.replies->Open();
  body.request = request;
  const absl::Status posted = context_.post(std::move(body));
  if (posted.ok()) return request;
  context_.replies->Drop(request);
  return posted;
}

absl::StatusOr<domain::Reply> SweepService::Await(domain::RequestId request) {
  ENTRAIN_ASSIGN_OR_RETURN(domain::Reply reply, context_.replies->Await(request, kReplyTimeoutMs));
  ENTRAIN_RETURN_IF_ERROR(reply.status);
  return reply;
}

grpc::Status SweepService::Validate(grpc::ServerContext* /*call*/, const v1::ValidateRequest* request,
                                    v1::ValidateResponse* response) {
  sweep::ParsedSweep parsed;
  for (const sweep::Problem& problem : ParseForValidation(request->yaml(), request->datasets(), "", &parsed)) {
    *response->add_problems() = ProblemMessage(problem);
  }
  if (response->problems_size() > 0) return grpc::Status::OK;
  for (std::size_t i = 0; i < parsed.spec.runs.size(); ++i) {
    *response->add_runs() = PlannedRun(parsed.spec.runs[i], i < parsed.estimates.size() ? parsed.estimates[i] : sweep::Estimate{});
  }
  return grpc::Status::OK;
}

absl::Status SweepService::DoSubmit(const v1::SubmitRequest& asked_for, const Caller& caller, v1::SubmitResponse* response) {
  v1::SubmitRequest request = asked_for;
  ENTRAIN_ASSIGN_OR_RETURN(*request.mutable_owner(), ActingName(caller, request.owner()));
  ENTRAIN_ASSIGN_OR_RETURN(sweep::ParsedSweep parsed, ParseForAdmission(request, *context_.artifacts));
  const samples::PublishedState::View state = context_.published->Get();
  std::string never;
  if (request.strict() && AnyNever(*state, parsed.spec, &never)) {
    return absl::FailedPreconditionError(StrCat("refused because of --strict: ", never));
  }
  for (std::string& warning : FitWarnings(*state, parsed.spec)) response->add_warnings(std::move(warning));
  response->set_run_count(static_cast<std::int32_t>(parsed.spec.runs.size()));
  domain::SubmitSweep event;
  event.proposed_id = SweepId(NewId("s", kSweepIdLength));
  event.idempotency_key = request.idempotency_key().empty() ? NewId("", kKeyLength) : request.idempotency_key();
  event.spec = std::move(parsed.spec);
  ENTRAIN_ASSIGN_OR_RETURN(const domain::RequestId asked, Send(std::move(event)));
  ENTRAIN_ASSIGN_OR_RETURN(const domain::Reply reply, Await(asked));
  response->set_sweep_id(reply.id);
  return absl::OkStatus();
}

grpc::Status SweepService::Submit(grpc::ServerContext* call, const v1::SubmitRequest* request, v1::SubmitResponse* response) {
  const Caller caller = context_.access->CallerOf(*call);
  const absl::Status status = DoSubmit(*request, caller, response);
  return transport::ToGrpc(context_.access->Record(caller, "submit", response->sweep_id(), status, StrCat(response->run_count(), " runs")));
}

grpc::Status SweepService::ListSweeps(grpc::ServerContext* /*call*/, const v1::ListSweepsRequest* /*request*/,
                                      v1::ListSweepsResponse* response) {
  const samples::PublishedState::View state = context_.published->Get();
  for (const auto& [number, id] : state->sweeps_by_number) {
    if (const core::Sweep* sweep = state->FindSweep(id)) *response->add_sweeps() = SummaryOf(*state, *sweep);
  }
  return grpc::Status::OK;
}

grpc::Status SweepService::GetSweep(grpc::ServerContext* /*call*/, const v1::GetSweepRequest* request, v1::Sweep* response) {
  const samples::PublishedState::View state = context_.published->Get();
  const absl::StatusOr<const core::Sweep*> sweep = FindSweep(*state, request->sweep_id());
  if (!sweep.ok()) return transport::ToGrpc(sweep.status());
  *response = SweepMessage(*state, **sweep, &results_);
  return grpc::Status::OK;
}

grpc::Status SweepService::GetRun(grpc::ServerContext* /*call*/, const v1::GetRunRequest* request, v1::RunDetail* response) {
  const samples::PublishedState::View state = context_.published->Get();
  const absl::StatusOr<const core::Run*> run = FindRun(*state, request->run_id());
  if (!run.ok()) return transport::ToGrpc(run.status());
  *response = DetailOf(*state, **run, results_.Of(**run));
  if (context_.pools != nullptr) AddPools(**run, context_.pools->Get(), response->mutable_summary());
  const auto thinned = context_.samples->ThinnedBy((*run)->id);
  if (!thinned.ok()) return transport::ToGrpc(thinned.status());
  response->set_samples_thinned_every(thinned->every);
  response->set_samples_thinned_wall_ms(thinned->wall_ms);
  const auto evaluations = context_.samples->ReadEvaluations((*run)->id);
  if (!evaluations.ok()) return transport::ToGrpc(evaluations.status());
  for (const store::StoredEvaluation& stored : *evaluations) *response->add_evaluations() = wire::ToWire(stored.evaluation);
  return grpc::Status::OK;
}

absl::Status SweepService::DoWatch(grpc::ServerContext* call, const std::string& sweep_id,
                                   grpc::ServerWriter<v1::WatchUpdate>* writer) {
  ENTRAIN_ASSIGN_OR_RETURN(const auto place, context_.access->Enter(call));
  std::string last;
  // "last" is settled once: a sweep that comes later does not move the view.
  SweepId id;
  while (!call->IsCancelled()) {
    const samples::PublishedState::View state = context_.published->Get();
    ENTRAIN_ASSIGN_OR_RETURN(const core::Sweep* sweep, FindSweep(*state, id.empty() ? sweep_id : id.value()));
    id = sweep->id;
    v1::WatchUpdate update;
    *update.mutable_sweep() = SweepMessage(*state, *sweep, &results_);
    for (const auto& [worker_id, worker] : state->workers) *update.add_workers() = SummaryOf(*worker);
    std::string bytes = update.SerializeAsString();
    if (bytes != last && !WriteTo(writer, place.get(), update)) return absl::OkStatus();
    last = std::move(bytes);
    if (sweep->unfinished_runs == 0) return absl::OkStatus();
    context_.published->Pause(kWatchIntervalMs);
  }
  return absl::OkStatus();
}

grpc::Status SweepService::Watch(grpc::ServerContext* call, const v1::WatchRequest* request,
                                 grpc::ServerWriter<v1::WatchUpdate>* writer) {
  return transport::ToGrpc(DoWatch(call, request->sweep_id(), writer));
}

absl::StatusOr<int> SweepService::Act(const std::string& id, domain::RunAction action, const std::string& by, const Caller& caller) {
  const samples::PublishedState::View state = context_.published->Get();
  ENTRAIN_ASSIGN_OR_RETURN(const Targets targets, FindTargets(*state, id));
  if (by.size() > kMaxNameBytes) return absl::InvalidArgumentError("by is too long");
  ENTRAIN_ASSIGN_OR_RETURN(const std::string name, ActingName(caller, by));
  ENTRAIN_RETURN_IF_ERROR(MayActOnAll(caller, *state, targets));
  // All are sent before the first answer is awaited, so that they share the core's transactions.
  std::vector<domain::RequestId> asked;
  for (const core::Run* run : targets.runs) {
    if (targets.is_sweep && !Fits(*run, action)) continue;
    ENTRAIN_ASSIGN_OR_RETURN(const domain::RequestId request, Send(domain::ActOnRun{0, run->id, action, name}));
    asked.push_back(request);
  }
  int told = 0;
  absl::Status failed;
  for (const domain::RequestId request : asked) {
    const absl::StatusOr<domain::Reply> reply = Await(request);
    if (reply.ok()) ++told;
    // A run of the sweep may have ended meanwhile.
    if (!reply.ok() && !(targets.is_sweep && absl::IsFailedPrecondition(reply.status()))) failed = reply.status();
  }
  ENTRAIN_RETURN_IF_ERROR(failed);
  return told;
}

template <typename Request, typename Response>
grpc::Status SweepService::Tell(grpc::ServerContext* call, const Request& request, domain::RunAction action, std::string_view name,
                                Response* response) {
  const Caller caller = context_.access->CallerOf(*call);
  const absl::StatusOr<int> runs = Act(request.id(), action, request.by(), caller);
  if (runs.ok()) response->set_runs(*runs);
  return transport::ToGrpc(context_.access->Record(caller, name, request.id(), runs.status(), runs.ok() ? StrCat(*runs, " runs") : ""));
}

grpc::Status SweepService::Stop(grpc::ServerContext* call, const v1::StopRequest* request, v1::StopResponse* response) {
  return Tell(call, *request, domain::RunAction::kStop, "stop", response);
}

grpc::Status SweepService::Pause(grpc::ServerContext* call, const v1::PauseRequest* request, v1::PauseResponse* response) {
  return Tell(call, *request, domain::RunAction::kPause, "pause", response);
}

grpc::Status SweepService::Resume(grpc::ServerContext* call, const v1::ResumeRequest* request, v1::ResumeResponse* response) {
  return Tell(call, *request, domain::RunAction::kResume, "resume", response);
}

absl::Status SweepService::DoRetry(const v1::RetryRequest& request, const Caller& caller, v1::RetryResponse* response) {
  const samples::PublishedState::View state = context_.published->Get();
  ENTRAIN_ASSIGN_OR_RETURN(const Targets targets, FindTargets(*state, request.id()));
  if (request.by().size() > kMaxNameBytes) return absl::InvalidArgumentError("by is too long");
  ENTRAIN_ASSIGN_OR_RETURN(const std::string name, ActingName(caller, request.by()));
  ENTRAIN_RETURN_IF_ERROR(MayActOnAll(caller, *state, targets));
  std::vector<domain::RequestId> asked;
  for (const core::Run* run : targets.runs) {
    if (targets.is_sweep && !MayRetry(*run)) continue;
    ENTRAIN_ASSIGN_OR_RETURN(const domain::RequestId sent, Send(domain::RetryRun{0, run->id, name}));
    asked.push_back(sent);
  }
  absl::Status failed;
  for (const domain::RequestId sent : asked) {
    const absl::StatusOr<domain::Reply> reply = Await(sent);
    if (reply.ok()) response->add_run_ids(reply->id);
    if (!reply.ok()) failed = reply.status();
  }
  ENTRAIN_RETURN_IF_ERROR(failed);
  return absl::OkStatus();
}

grpc::Status SweepService::Retry(grpc::ServerContext* call, const v1::RetryRequest* request, v1::RetryResponse* response) {
  const Caller caller = context_.access->CallerOf(*call);
  const absl::Status status = DoRetry(*request, caller, response);
  return transport::ToGrpc(context_.access->Record(caller, "retry", request->id(), status, StrCat(response->run_ids_size(), " runs")));
}

absl::Status SweepService::DoLogs(grpc::ServerContext* call, const v1::LogsRequest& request,
                                  grpc::ServerWriter<v1::LogLine>* writer) {
  ENTRAIN_ASSIGN_OR_RETURN(const auto place, context_.access->Enter(call));
  RunId id;
  std::int64_t after = 0;
  for (bool over = false; !call->IsCancelled();) {
    const samples::PublishedState::View state = context_.published->Get();
    ENTRAIN_ASSIGN_OR_RETURN(const core::Run* run, FindRun(*state, id.empty() ? request.run_id() : id.value()));
    id = run->id;
    ENTRAIN_ASSIGN_OR_RETURN(const auto lines, context_.logs->ReadLog(id, request.attempt(), after, kLogLinesPerPage));
    if (after == 0 && request.attempt() == 0 && !lines.empty() && lines.front().number > 1) {
      v1::LogLine message;
      message.set_text(StrCat("(", lines.front().number - 1, " earlier lines were deleted by retention)"));
      if (!WriteTo(writer, place.get(), message)) return absl::OkStatus();
    }
    for (const store::LogStore::Line& line : lines) {
      v1::LogLine message;
      message.set_attempt(line.attempt);
      message.set_text(line.text);
      if (!WriteTo(writer, place.get(), message)) return absl::OkStatus();
      after = line.number;
    }
    if (static_cast<std::int64_t>(lines.size()) == kLogLinesPerPage) continue;
    // Once final, one more look: the last lines may come after the state.
    if (!request.follow() || over) return absl::OkStatus();
    over = domain::IsFinal(run->state);
    context_.published->Pause(kWatchIntervalMs);
  }
  return absl::OkStatus();
}

grpc::Status SweepService::Logs(grpc::ServerContext* call, const v1::LogsRequest* request,
                                grpc::ServerWriter<v1::LogLine>* writer) {
  return transport::ToGrpc(DoLogs(call, *request, writer));
}

absl::Status SweepService::SendSamples(StreamPlaces::Place* place, const core::Run& run, const v1::FetchSamplesRequest& request,
                                       grpc::ServerWriter<v1::FetchSamplesResponse>* writer) {
  ENTRAIN_ASSIGN_OR_RETURN(const store::Thinned thinned, context_.samples->ThinnedBy(run.id));
  // Of samples that retention thinned, every so many of those that are left.
  const std::int64_t kept = std::max<std::int64_t>(1, thinned.every);
  const std::int64_t every = std::max<std::int64_t>(1, request.every() / kept) * (request.every() < kept ? 1 : kept);
  std::int64_t after = request.after_step();
  for (;;) {
    ENTRAIN_ASSIGN_OR_RETURN(const auto page, context_.samples->ReadSamples(run.id, run.spec->context, after, kSamplesPerPage));
    const bool last_page = static_cast<std::int64_t>(page.size()) < kSamplesPerPage;
    v1::FetchSamplesResponse response;
    for (std::size_t i = 0; i < page.size(); ++i) {
      const domain::EntropySample& sample = page[i].sample;
      // The ends stay, however thin the middle.
      const bool end = sample.step == 1 || (last_page && i + 1 == page.size());
      if (sample.step % every == 0 || end) *response.add_samples() = wire::ToWire(sample);
    }
    if (response.samples_size() > 0 && !WriteTo(writer, place, response)) return absl::CancelledError("the caller left");
    if (last_page) return absl::OkStatus();
    after = page.back().sample.step;
  }
}

absl::Status SweepService::DoFetch(grpc::ServerContext* call, const v1::FetchSamplesRequest& request,
                                   grpc::ServerWriter<v1::FetchSamplesResponse>* writer) {
  ENTRAIN_ASSIGN_OR_RETURN(const auto place, context_.access->Enter(call));
  if (request.after_step() < 0) return absl::InvalidArgumentError(StrCat("after_step is negative: ", request.after_step()));
  if (request.every() < 0) return absl::InvalidArgumentError(StrCat("every is negative: ", request.every()));
  const samples::PublishedState::View state = context_.published->Get();
  ENTRAIN_ASSIGN_OR_RETURN(const core::Run* run, FindRun(*state, request.run_id()));
  ENTRAIN_RETURN_IF_ERROR(SendSamples(place.get(), *run, request, writer));
  ENTRAIN_ASSIGN_OR_RETURN(const auto evaluations, context_.samples->ReadEvaluations(run->id));
  v1::FetchSamplesResponse response;
  for (const store::StoredEvaluation& stored : evaluations) {
    if (stored.evaluation.step > request.after_step() || request.after_step() == 0) {
      *response.add_evaluations() = wire::ToWire(stored.evaluation);
    }
  }
  if (response.evaluations_size() > 0) WriteTo(writer, place.get(), response);
  return absl::OkStatus();
}

grpc::Status SweepService::FetchSamples(grpc::ServerContext* call, const v1::FetchSamplesRequest* request,
                                        grpc::ServerWriter<v1::FetchSamplesResponse>* writer) {
  return transport::ToGrpc(DoFetch(call, *request, writer));
}

grpc::Status SweepService::FetchCheckpoint(grpc::ServerContext* call, const v1::FetchCheckpointRequest* request,
                                           grpc::ServerWriter<v1::CheckpointPiece>* writer) {
  const auto place = context_.access->Enter(call);
  if (!place.ok()) return transport::ToGrpc(place.status());
  const samples::PublishedState::View before = context_.published->Get();
  const absl::StatusOr<const core::Run*> named = FindRun(*before, request->run_id());
  if (!named.ok()) return transport::ToGrpc(named.status());
  // Before the list is looked at: artifacts/pins.h.
  const RunId id = (*named)->id;
  const std::shared_ptr<void> pin = context_.pins->Hold(artifacts::CheckpointPath({id, request->attempt()}, request->step()));
  const samples::PublishedState::View state = context_.published->Get();
  const core::Run* run = state->FindRun(id);
  return transport::ToGrpc(SendCheckpoint(*run, *request, *context_.artifacts, [&](const v1::CheckpointPiece& piece) { return WriteTo(writer, place->get(), piece); }));
}

absl::Status SweepService::DoActOnWorker(const v1::ActOnWorkerRequest& request, const Caller& caller, v1::ActOnWorkerResponse* response) {
  const auto action = domain::ParseWorkerAction(request.action());
  if (!action.has_value()) return absl::InvalidArgumentError(StrCat("action must be quarantine, release or forget, is \"", request.action(), "\""));
  if (request.by().size() > kMaxNameBytes || request.reason().size() > kMaxNameBytes) return absl::InvalidArgumentError("by or reason is too long");
  const samples::PublishedState::View state = context_.published->Get();
  ENTRAIN_ASSIGN_OR_RETURN(const core::Worker* worker, FindWorker(*state, request.worker_id()));
  domain::ActOnWorker event;
  event.worker = worker->info.id;
  event.action = *action;
  ENTRAIN_ASSIGN_OR_RETURN(event.by, ActingName(caller, request.by()));
  event.reason = request.reason();
  ENTRAIN_ASSIGN_OR_RETURN(const domain::RequestId asked, Send(std::move(event)));
  ENTRAIN_ASSIGN_OR_RETURN(const domain::Reply reply, Await(asked));
  response->set_worker_id(reply.id);
  return absl::OkStatus();
}

grpc::Status SweepService::ActOnWorker(grpc::ServerContext* call, const v1::ActOnWorkerRequest* request, v1::ActOnWorkerResponse* response) {
  const Caller caller = context_.access->CallerOf(*call);
  const absl::Status status = DoActOnWorker(*request, caller, response);
  return transport::ToGrpc(context_.access->Record(caller, domain::ParseWorkerAction(request->action()).has_value() ? request->action() : "act_on_worker", request->worker_id(), status, request->reason()));
}

absl::Status SweepService::DoRelease(const v1::ReleaseRequest& request, const Caller& caller, v1::ReleaseResponse* response) {
  if (request.by().size() > kMaxNameBytes) return absl::InvalidArgumentError("by is too long");
  const samples::PublishedState::View state = context_.published->Get();
  ENTRAIN_ASSIGN_OR_RETURN(const core::Sweep* sweep, FindSweep(*state, request.sweep_id()));
  ENTRAIN_ASSIGN_OR_RETURN(const std::string name, ActingName(caller, request.by()));
  ENTRAIN_RETURN_IF_ERROR(MayActOn(caller, sweep->spec->owner));
  ENTRAIN_ASSIGN_OR_RETURN(const domain::RequestId asked, Send(domain::ReleaseSweep{0, sweep->id, name}));
  ENTRAIN_ASSIGN_OR_RETURN(const domain::Reply reply, Await(asked));
  response->set_sweep_id(reply.id);
  return absl::OkStatus();
}

grpc::Status SweepService::Release(grpc::ServerContext* call, const v1::ReleaseRequest* request, v1::ReleaseResponse* response) {
  const Caller caller = context_.access->CallerOf(*call);
  const absl::Status status = DoRelease(*request, caller, response);
  return transport::ToGrpc(context_.access->Record(caller, "release", request->sweep_id(), status, ""));
}

grpc::Status SweepService::CollectGarbage(grpc::ServerContext* call, const v1::CollectGarbageRequest* request,
                                          v1::CollectGarbageResponse* response) {
  const absl::StatusOr<retention::PassReport> report = context_.collect(request->dry_run());
  if (report.ok()) *response = ReportMessage(*report);
  if (request->dry_run()) return transport::ToGrpc(report.status());
  return transport::ToGrpc(context_.access->Record(context_.access->CallerOf(*call), "collect_garbage", "", report.status(),
                                        StrCat(response->items_size(), " items")));
}

grpc::Status SweepService::ListWorkers(grpc::ServerContext* /*call*/, const v1::ListWorkersRequest* /*request*/,
                                       v1::ListWorkersResponse* response) {
  const samples::PublishedState::View state = context_.published->Get();
  for (const auto& [id, worker] : state->workers) *response->add_workers() = SummaryOf(*worker);
  if (context_.pools == nullptr) return grpc::Status::OK;
  for (const pool::PoolStatus& pool : context_.pools->Get()) *response->add_pools() = SummaryOf(pool);
  return grpc::Status::OK;
}

}  // namespace entrain::rpc
