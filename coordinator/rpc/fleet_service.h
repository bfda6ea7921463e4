// The workers' side: three streams. Decodes, checks, hands on; decides nothing.
#pragma once

#include <map>
#include <mutex>

#include "coordinator/rpc/service_context.h"
#include "entrain/v1/fleet_service.grpc.pb.h"

namespace entrain::rpc {

class FleetService : public v1::FleetService::Service {
 public:
  explicit FleetService(const ServiceContext& context) : context_(context) {}

  grpc::Status Control(grpc::ServerContext* call,
                       grpc::ServerReaderWriter<v1::CoordinatorMessage, v1::WorkerMessage>* stream) override;
  grpc::Status Samples(grpc::ServerContext* call, grpc::ServerReaderWriter<v1::SampleAck, v1::SampleBatch>* stream) override;
  grpc::Status Logs(grpc::ServerContext* call, grpc::ServerReaderWriter<v1::LogAck, v1::LogChunk>* stream) override;

 private:
  using ControlStream = grpc::ServerReaderWriter<v1::CoordinatorMessage, v1::WorkerMessage>;
  // The hello, once its worker may have it.
  absl::StatusOr<domain::WorkerJoined> Register(grpc::ServerContext* call, StreamPlaces::Place* place, ControlStream* stream,
                                                v1::WorkerMessage* message);
  // What a worker says of an attempt that is not on it ends its stream.
  absl::Status CheckReport(const WorkerId& worker, const domain::AttemptKey& key);
  // Reads until the stream ends or a message is wrong.
  absl::Status ReadControl(const WorkerId& worker, WorkerConnection* connection, ControlStream* stream);
  absl::Status Take(const WorkerId& worker, const v1::WorkerMessage& message, WorkerConnection* connection);
  absl::StatusOr<v1::SampleAck> StoreBatch(const v1::SampleBatch& message, const Caller& caller);
  absl::Status StoreChunk(const v1::LogChunk& message, const Caller& caller);

  const ServiceContext context_;
  std::mutex log_mutex_;
  // Where each attempt's stored log ends, so that what is sent again after a lost acknowledgement is not stored twice.
  std::map<domain::AttemptKey, std::uint64_t> log_offsets_;
};

}  // namespace entrain::rpc
