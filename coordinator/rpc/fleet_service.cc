#include "coordinator/rpc/fleet_service.h"

#include <thread>

#include "artifacts/artifact_store.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "coordinator/rpc/limits.h"
#include "proto/convert.h"
#include "transport/grpc_status.h"

namespace entrain::rpc {
namespace {

// Attempts whose log position is remembered.
constexpr std::size_t kMaxLogOffsets = 10'000;

absl::Status CheckProtocol(std::uint32_t version) {
  if (version >= wire::kOldestProtocol && version <= wire::kNewestProtocol) return absl::OkStatus();
  return absl::FailedPreconditionError(StrCat("the worker speaks protocol ", version, ", this coordinator speaks ",
                                              wire::kOldestProtocol, " to ", wire::kNewestProtocol, ": use matching builds"));
}

absl::StatusOr<domain::WorkerJoined> DecodeHello(const v1::WorkerMessage& message) {
  if (!message.has_hello()) return absl::InvalidArgumentError("the first message on a control stream must be hello");
  const v1::Hello& hello = message.hello();
  ENTRAIN_RETURN_IF_ERROR(CheckProtocol(hello.protocol_version()));
  domain::WorkerJoined joined;
  ENTRAIN_ASSIGN_OR_RETURN(joined.info, wire::FromWire(hello));
  joined.incarnation = hello.incarnation();
  for (const v1::AttemptKey& key : hello.live_attempts()) {
    ENTRAIN_ASSIGN_OR_RETURN(domain::AttemptKey decoded, wire::FromWire(key));
    joined.live_attempts.push_back(std::move(decoded));
  }
  return joined;
}

// A checkpoint lies under its own attempt's name, so that none is taken for another's.
absl::Status CheckPlace(const domain::AttemptKey& key, const std::string& path) {
  ENTRAIN_RETURN_IF_ERROR(artifacts::CheckInnerPath(path));
  if (path.starts_with(StrCat("checkpoints/", key.run.value(), "/", key.attempt, "/"))) return absl::OkStatus();
  return absl::InvalidArgumentError(StrCat("checkpoint ", path, " is not under the name of attempt ", key.attempt, " of run ", key.run.value()));
}

v1::CoordinatorMessage LeaseMessage(std::int64_t lease_ms) {
  v1::CoordinatorMessage message;
  message.mutable_lease()->set_lease_ms(lease_ms);
  return message;
}

v1::CoordinatorMessage WelcomeMessage(const ServiceContext& context) {
  v1::CoordinatorMessage message;
  message.mutable_welcome()->set_protocol_version(wire::kNewestProtocol);
  message.mutable_welcome()->set_lease_ms(context.lease_ms);
  message.mutable_welcome()->set_heartbeat_interval_ms(context.heartbeat_interval_ms);
  message.mutable_welcome()->set_peer_key(context.fleet->peer_key());
  return message;
}

}  // namespace

absl::StatusOr<domain::WorkerJoined> FleetService::Register(grpc::ServerContext* call, StreamPlaces::Place* place, ControlStream* stream,
                                                            v1::WorkerMessage* message) {
  v1::WorkerMessage& first = *message;
  {
    const auto waiting = place->Wait();
    if (!stream->Read(&first)) return absl::CancelledError("the worker left before its hello");
  }
  const Caller caller = context_.access->CallerOf(*call);
  absl::StatusOr<domain::WorkerJoined> joined = DecodeHello(first);
  absl::Status status = joined.status();
  if (status.ok()) status = MayRegister(caller, *context_.published->Get(), joined->info);
  const std::string detail = StrCat(first.hello().slots(), " ", first.hello().slot_kind(), " slots");
  status = context_.access->Record(caller, "register", StrCat(first.hello().name(), " ", first.hello().worker_id()), status, detail);
  if (status.ok()) return joined;
  Log(LogLevel::kWarning, "refused a worker", {{"peer", call->peer()}, {"reason", std::string(status.message())}});
  return status;
}

absl::Status FleetService::CheckReport(const WorkerId& worker, const domain::AttemptKey& key) {
  return IsOfGang(*context_.published->Get(), worker, key);
}

grpc::Status FleetService::Control(grpc::ServerContext* call, ControlStream* stream) {
  const auto place = context_.access->Enter(call);
  if (!place.ok()) return transport::ToGrpc(place.status());
  v1::WorkerMessage first;
  const absl::StatusOr<domain::WorkerJoined> joined = Register(call, place->get(), stream, &first);
  if (absl::IsCancelled(joined.status())) return grpc::Status::OK;
  if (!joined.ok()) return transport::ToGrpc(joined.status());
  const WorkerId worker = joined->info.id;
  auto connected =
      context_.fleet->Connect(worker, joined->incarnation, [call] { call->TryCancel(); }, first.hello().peer_address());
  if (!connected.ok()) return transport::ToGrpc(connected.status());
  const std::shared_ptr<WorkerConnection> connection = *connected;
  Log(LogLevel::kInfo, "worker connected",
      {{"worker", worker.value()}, {"name", joined->info.name}, {"slots", std::to_string(joined->info.slots)}});

  connection->Push(WelcomeMessage(context_));
  absl::Status status = context_.post(*joined);
  std::thread writer([&] {
    while (const auto message = connection->Next()) {
      if (!stream->Write(*message)) connection->Close();
    }
  });
  if (status.ok()) status = ReadControl(worker, connection.get(), stream);
  connection->Detach();
  writer.join();
  context_.fleet->Disconnect(worker, connection);
  context_.post(domain::WorkerDisconnected{worker, joined->incarnation}).IgnoreError();
  Log(LogLevel::kInfo, "worker disconnected", {{"worker", worker.value()}, {"reason", std::string(status.message())}});
  return transport::ToGrpc(status);
}

absl::Status FleetService::ReadControl(const WorkerId& worker, WorkerConnection* connection, ControlStream* stream) {
  v1::WorkerMessage message;
  while (stream->Read(&message)) ENTRAIN_RETURN_IF_ERROR(Take(worker, message, connection));
  return absl::OkStatus();
}

absl::Status FleetService::Take(const WorkerId& worker, const v1::WorkerMessage& message, WorkerConnection* connection) {
  switch (message.body_case()) {
    case v1::WorkerMessage::kHeartbeat:
      ENTRAIN_RETURN_IF_ERROR(context_.post(domain::WorkerHeartbeat{worker, message.heartbeat().draining()}));
      connection->Push(LeaseMessage(context_.lease_ms));
      return absl::OkStatus();
    case v1::WorkerMessage::kStarted: {
      ENTRAIN_ASSIGN_OR_RETURN(domain::AttemptKey key, wire::FromWire(message.started().key()));
      ENTRAIN_RETURN_IF_ERROR(CheckReport(worker, key));
      return context_.post(domain::AttemptStarted{worker, message.started().report(), std::move(key)});
    }
    case v1::WorkerMessage::kEnded: {
      ENTRAIN_ASSIGN_OR_RETURN(domain::AttemptKey key, wire::FromWire(message.ended().key()));
      ENTRAIN_RETURN_IF_ERROR(CheckReport(worker, key));
      ENTRAIN_ASSIGN_OR_RETURN(domain::AttemptEnd end, wire::FromWire(message.ended()));
      return context_.post(domain::AttemptEnded{worker, message.ended().report(), std::move(key), std::move(end)});
    }
    case v1::WorkerMessage::kCheckpoint: {
      ENTRAIN_ASSIGN_OR_RETURN(domain::AttemptKey key, wire::FromWire(message.checkpoint().key()));
      ENTRAIN_RETURN_IF_ERROR(CheckReport(worker, key));
      ENTRAIN_ASSIGN_OR_RETURN(domain::Checkpoint checkpoint, wire::FromWire(message.checkpoint().checkpoint()));
      ENTRAIN_RETURN_IF_ERROR(CheckPlace(key, checkpoint.path));
      return context_.post(
          domain::CheckpointPublished{worker, message.checkpoint().report(), std::move(key), std::move(checkpoint)});
    }
    case v1::WorkerMessage::kHello: return absl::InvalidArgumentError("hello comes once, at the start of the stream");
    case v1::WorkerMessage::BODY_NOT_SET: break;
  }
  return absl::InvalidArgumentError("a message of a kind that this coordinator does not know");
}

grpc::Status FleetService::Samples(grpc::ServerContext* call,
                                   grpc::ServerReaderWriter<v1::SampleAck, v1::SampleBatch>* stream) {
  // The next batch is read only when this one is stored: a slow disk holds the worker back, not our memory.
  v1::SampleBatch batch;
  const auto place = context_.access->Enter(call);
  if (!place.ok()) return transport::ToGrpc(place.status());
  const Caller caller = context_.access->CallerOf(*call);
  while (stream->Read(&batch)) {
    const absl::StatusOr<v1::SampleAck> ack = StoreBatch(batch, caller);
    if (!ack.ok()) {
      Log(LogLevel::kWarning, "samples not stored", {{"run", batch.key().run_id()}, {"attempt", std::to_string(batch.key().attempt())}, {"reason", std::string(ack.status().message())}});
      return transport::ToGrpc(ack.status());
    }
    if (!stream->Write(*ack)) break;
  }
  return grpc::Status::OK;
}

absl::StatusOr<v1::SampleAck> FleetService::StoreBatch(const v1::SampleBatch& message, const Caller& caller) {
  if (message.samples_size() + message.evaluations_size() > kMaxSamplesPerBatch) {
    if (context_.count_limit) context_.count_limit("max_samples_per_batch");
    return absl::InvalidArgumentError(StrCat("a batch of ", message.samples_size(), " samples and ", message.evaluations_size(),
                                             " evaluations, at most ", kMaxSamplesPerBatch, " are allowed"));
  }
  samples::Batch batch;
  ENTRAIN_ASSIGN_OR_RETURN(batch.key, wire::FromWire(message.key()));
  ENTRAIN_RETURN_IF_ERROR(MayTouchAttempt(caller, *context_.published->Get(), batch.key));
  for (const v1::Sample& sample : message.samples()) {
    ENTRAIN_ASSIGN_OR_RETURN(domain::EntropySample decoded, wire::FromWire(sample));
    batch.samples.push_back(std::move(decoded));
  }
  for (const v1::Evaluation& evaluation : message.evaluations()) {
    ENTRAIN_ASSIGN_OR_RETURN(const domain::Evaluation decoded, wire::FromWire(evaluation));
    batch.evaluations.push_back(decoded);
  }
  ENTRAIN_ASSIGN_OR_RETURN(const samples::Stored stored, context_.lane->Store(std::move(batch)));
  v1::SampleAck ack;
  *ack.mutable_key() = message.key();
  ack.set_last_offset(message.last_offset());
  ack.set_fenced(stored == samples::Stored::kFenced);
  return ack;
}

grpc::Status FleetService::Logs(grpc::ServerContext* call, grpc::ServerReaderWriter<v1::LogAck, v1::LogChunk>* stream) {
  const auto place = context_.access->Enter(call);
  if (!place.ok()) return transport::ToGrpc(place.status());
  const Caller caller = context_.access->CallerOf(*call);
  v1::LogChunk chunk;
  while (stream->Read(&chunk)) {
    const absl::Status status = StoreChunk(chunk, caller);
    if (!status.ok()) return transport::ToGrpc(status);
    v1::LogAck ack;
    *ack.mutable_key() = chunk.key();
    ack.set_last_offset(chunk.last_offset());
    if (!stream->Write(ack)) break;
  }
  return grpc::Status::OK;
}

absl::Status FleetService::StoreChunk(const v1::LogChunk& message, const Caller& caller) {
  ENTRAIN_ASSIGN_OR_RETURN(const domain::AttemptKey key, wire::FromWire(message.key()));
  if (message.lines_size() > kMaxLogLinesPerChunk) {
    if (context_.count_limit) context_.count_limit("max_log_lines_per_chunk");
    return absl::InvalidArgumentError(StrCat("a chunk of ", message.lines_size(), " log lines, at most ", kMaxLogLinesPerChunk));
  }
  const samples::PublishedState::View state = context_.published->Get();
  ENTRAIN_RETURN_IF_ERROR(MayTouchAttempt(caller, *state, key));
  const core::Run* run = state->FindRun(key.run);
  // Lines of attempts that never were are dropped; those of replaced ones still explain something.
  if (run == nullptr || key.attempt > run->attempt) return absl::OkStatus();
  {
    std::lock_guard<std::mutex> lock(log_mutex_);
    const auto known = log_offsets_.find(key);
    if (known != log_offsets_.end() && known->second >= message.last_offset()) return absl::OkStatus();
  }
  std::vector<std::string> lines;
  if (message.dropped_lines() > 0) lines.push_back(StrCat("[", message.dropped_lines(), " lines dropped]"));
  for (const std::string& line : message.lines()) lines.push_back(line.substr(0, kMaxLogLineBytes));
  if (!lines.empty()) ENTRAIN_RETURN_IF_ERROR(context_.logs->AppendLog(key.run, key.attempt, lines));
  std::lock_guard<std::mutex> lock(log_mutex_);
  if (log_offsets_.size() >= kMaxLogOffsets) log_offsets_.clear();
  log_offsets_[key] = message.last_offset();
  return absl::OkStatus();
}

}  // namespace entrain::rpc
