// A worker and a person, by hand over gRPC: what a test says and hears, message by message.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "domain/fleet.h"
#include "entrain/v1/fleet_service.grpc.pb.h"
#include "entrain/v1/sweep_service.grpc.pb.h"

namespace entrain::server {

inline constexpr int kPatienceMs = 10'000;

// Polls until true or out of patience.
bool Eventually(const std::function<bool()>& condition);

// Of a checkpoint, relative to the artifact root, as a real worker names it.
std::string PathOf(const v1::AttemptKey& key, std::int64_t step);

// How to reach the coordinator: plain text on loopback unless credentials are given.
struct Dial {
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  std::string name;  // of the worker; empty: host-ID
};

class FakeWorker {
 public:
  static constexpr std::int64_t kCheckpointBytes = 100;

  FakeWorker(const std::string& address, const std::string& id, int slots, std::uint64_t incarnation,
             const std::vector<domain::AttemptKey>& live = {}, std::uint32_t protocol = 1,
             const Dial& dial = {});
  ~FakeWorker();

  // The next message that `wanted` accepts, others are dropped; nullopt out of patience or when the stream ended.
  std::optional<v1::CoordinatorMessage> Await(const std::function<bool(const v1::CoordinatorMessage&)>& wanted);
  std::optional<v1::Launch> AwaitLaunch();
  void Heartbeat();
  // These three wait for the acknowledgement.
  bool ReportStarted(const v1::AttemptKey& key);
  bool ReportCheckpoint(const v1::AttemptKey& key, std::int64_t step);
  bool ReportEnded(const v1::AttemptKey& key, const std::string& cause, std::int64_t last_step);
  void Send(const v1::WorkerMessage& message);
  // Sends steps [first, last] with every head at `entropy_nats`, and an evaluation at the last.
  grpc::Status SendSamples(const v1::AttemptKey& key, std::int64_t first, std::int64_t last, int layers, int heads,
                           float entropy_nats, v1::SampleAck* ack);
  grpc::Status SendLog(const v1::AttemptKey& key, const std::vector<std::string>& lines, std::uint64_t offset);
  // Waits for the stream's end.
  grpc::Status AwaitEnd();

 private:
  bool AwaitAcknowledged(std::uint64_t report);

  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::FleetService::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::WorkerMessage, v1::CoordinatorMessage>> stream_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<v1::CoordinatorMessage> inbox_;
  bool ended_ = false;
  grpc::Status status_;
  std::uint64_t reports_ = 0;
  std::thread reader_;
};

class Person {
 public:
  explicit Person(const std::string& address);
  v1::SweepService::Stub* stub() { return stub_.get(); }
  grpc::Status Submit(const v1::SubmitRequest& request, v1::SubmitResponse* response);
  v1::Sweep GetSweep(const std::string& id);
  v1::RunDetail GetRun(const std::string& id);
  std::vector<v1::Sample> Samples(const std::string& run);
  // The first run of the sweep, once it is in the state.
  bool AwaitState(const std::string& sweep, const std::string& state);

 private:
  std::unique_ptr<v1::SweepService::Stub> stub_;
};

// A sweep of one variant with `steps` steps, 2 layers of 2 heads, context 16, gangs of `ranks`; and a dataset that exists in `artifacts`.
v1::SubmitRequest SmallSweep(const std::string& artifacts, int ranks = 1, int steps = 20);

}  // namespace entrain::server
