// The coordinator as the command line sees it: one call, one value or a status that names the coordinator's address.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "entrain/v1/sweep_service.pb.h"
#include "transport/tls.h"

namespace grpc {
class Channel;
}

namespace entrain::cli {

// Ends a stream from another thread. Cancelling before the stream starts, or twice, is fine.
class StreamStop {
 public:
  StreamStop();
  ~StreamStop();
  StreamStop(const StreamStop&) = delete;
  StreamStop& operator=(const StreamStop&) = delete;
  void Stop();
  bool stopped() const;

 private:
  friend class Client;
  struct Shared;
  std::unique_ptr<Shared> shared_;
};

// Thread-safe.
class Client {
 public:
  // HOST:PORT, or several separated by commas: one of them leads and the others do not answer, so that each call goes to the one that
  // did last and, where that cannot be reached, to the others in turn. The files were checked (transport::CheckTlsFiles); empty: plain text.
  // The token goes with every call; empty: none.
  explicit Client(std::string address, const transport::TlsFiles& tls = {}, const std::string& token = "");
  ~Client();
  const std::string& address() const { return address_; }
  // For services beside the sweeps': to the coordinator that answers.
  std::shared_ptr<grpc::Channel> channel() const;

  absl::StatusOr<v1::SubmitResponse> Submit(const v1::SubmitRequest& request);
  absl::StatusOr<v1::ListSweepsResponse> ListSweeps();
  absl::StatusOr<v1::Sweep> GetSweep(const std::string& id);
  absl::StatusOr<v1::RunDetail> GetRun(const std::string& id);
  // The number of runs that were told.
  absl::StatusOr<int> Stop(const std::string& id, const std::string& by);
  absl::StatusOr<int> Pause(const std::string& id, const std::string& by);
  absl::StatusOr<int> Resume(const std::string& id, const std::string& by);
  absl::StatusOr<v1::RetryResponse> Retry(const std::string& id, const std::string& by);
  // The sweep's id.
  absl::StatusOr<std::string> Release(const std::string& id, const std::string& by);
  absl::StatusOr<v1::CollectGarbageResponse> CollectGarbage(bool dry_run);
  absl::StatusOr<v1::ListWorkersResponse> ListWorkers();
  absl::StatusOr<v1::ActOnWorkerResponse> ActOnWorker(const v1::ActOnWorkerRequest& request);

  // Calls back on this thread until the stream ends: OK when the other side ended it, CANCELLED after `stop`.
  absl::Status Watch(const std::string& sweep, StreamStop* stop, const std::function<void(const v1::WatchUpdate&)>& on_update);
  absl::Status Logs(const v1::LogsRequest& request, StreamStop* stop, const std::function<void(const v1::LogLine&)>& on_line);
  absl::Status FetchSamples(const v1::FetchSamplesRequest& request,
                            const std::function<void(const v1::FetchSamplesResponse&)>& on_part, StreamStop* stop = nullptr);
  // Stops, and returns, the first error of `on_piece`.
  absl::Status FetchCheckpoint(const v1::FetchCheckpointRequest& request,
                               const std::function<absl::Status(const v1::CheckpointPiece&)>& on_piece);

 private:
  struct Endpoints;
  std::string address_;
  std::unique_ptr<Endpoints> endpoints_;
};

}  // namespace entrain::cli
