// The people's side. Reads published views and stored samples; what changes anything is an event to the core and its answer.
#pragma once

#include <mutex>

#include "coordinator/rpc/lookup.h"
#include "coordinator/rpc/run_results.h"
#include "coordinator/rpc/service_context.h"
#include "entrain/v1/sweep_service.grpc.pb.h"

namespace entrain::rpc {

class SweepService : public v1::SweepService::Service {
 public:
  explicit SweepService(const ServiceContext& context) : context_(context), results_(context.lane, context.samples) {}

  grpc::Status Validate(grpc::ServerContext* call, const v1::ValidateRequest* request, v1::ValidateResponse* response) override;
  grpc::Status Submit(grpc::ServerContext* call, const v1::SubmitRequest* request, v1::SubmitResponse* response) override;
  grpc::Status ListSweeps(grpc::ServerContext* call, const v1::ListSweepsRequest* request,
                          v1::ListSweepsResponse* response) override;
  grpc::Status GetSweep(grpc::ServerContext* call, const v1::GetSweepRequest* request, v1::Sweep* response) override;
  grpc::Status GetRun(grpc::ServerContext* call, const v1::GetRunRequest* request, v1::RunDetail* response) override;
  grpc::Status Watch(grpc::ServerContext* call, const v1::WatchRequest* request,
                     grpc::ServerWriter<v1::WatchUpdate>* writer) override;
  grpc::Status Stop(grpc::ServerContext* call, const v1::StopRequest* request, v1::StopResponse* response) override;
  grpc::Status Pause(grpc::ServerContext* call, const v1::PauseRequest* request, v1::PauseResponse* response) override;
  grpc::Status Resume(grpc::ServerContext* call, const v1::ResumeRequest* request, v1::ResumeResponse* response) override;
  grpc::Status Retry(grpc::ServerContext* call, const v1::RetryRequest* request, v1::RetryResponse* response) override;
  grpc::Status Logs(grpc::ServerContext* call, const v1::LogsRequest* request, grpc::ServerWriter<v1::LogLine>* writer) override;
  grpc::Status FetchSamples(grpc::ServerContext* call, const v1::FetchSamplesRequest* request,
                            grpc::ServerWriter<v1::FetchSamplesResponse>* writer) override;
  grpc::Status FetchCheckpoint(grpc::ServerContext* call, const v1::FetchCheckpointRequest* request,
                               grpc::ServerWriter<v1::CheckpointPiece>* writer) override;
  grpc::Status ActOnWorker(grpc::ServerContext* call, const v1::ActOnWorkerRequest* request, v1::ActOnWorkerResponse* response) override;
  grpc::Status Release(grpc::ServerContext* call, const v1::ReleaseRequest* request, v1::ReleaseResponse* response) override;
  grpc::Status CollectGarbage(grpc::ServerContext* call, const v1::CollectGarbageRequest* request,
                              v1::CollectGarbageResponse* response) override;
  grpc::Status ListWorkers(grpc::ServerContext* call, const v1::ListWorkersRequest* request,
                           v1::ListWorkersResponse* response) override;

 private:
  absl::Status DoSubmit(const v1::SubmitRequest& request, const Caller& caller, v1::SubmitResponse* response);
  // The number of runs that were told.
  absl::StatusOr<int> Act(const std::string& id, domain::RunAction action, const std::string& by, const Caller& caller);
  // The same, written down.
  template <typename Request, typename Response>
  grpc::Status Tell(grpc::ServerContext* call, const Request& request, domain::RunAction action, std::string_view name, Response* response);
  absl::Status DoActOnWorker(const v1::ActOnWorkerRequest& request, const Caller& caller, v1::ActOnWorkerResponse* response);
  absl::Status DoRelease(const v1::ReleaseRequest& request, const Caller& caller, v1::ReleaseResponse* response);
  absl::Status DoRetry(const v1::RetryRequest& request, const Caller& caller, v1::RetryResponse* response);
  absl::Status DoWatch(grpc::ServerContext* call, const std::string& sweep_id, grpc::ServerWriter<v1::WatchUpdate>* writer);
  absl::Status DoLogs(grpc::ServerContext* call, const v1::LogsRequest& request, grpc::ServerWriter<v1::LogLine>* writer);
  absl::Status DoFetch(grpc::ServerContext* call, const v1::FetchSamplesRequest& request, grpc::ServerWriter<v1::FetchSamplesResponse>* writer);
  absl::Status SendSamples(StreamPlaces::Place* place, const core::Run& run, const v1::FetchSamplesRequest& request,
                           grpc::ServerWriter<v1::FetchSamplesResponse>* writer);
  // Sends the event with a fresh request number, whose answer is to be awaited.
  template <typename Body>
  absl::StatusOr<domain::RequestId> Send(Body body);
  absl::StatusOr<domain::Reply> Await(domain::RequestId request);
  std::string NewId(const char* prefix, int length);

  const ServiceContext context_;
  RunResults results_;
  std::mutex ids_mutex_;
};

}  // namespace entrain::rpc
