// A coordinator's fleet service that records what a worker says and says what a test wants. Real gRPC on loopback.
#pragma once

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "entrain/v1/fleet_service.grpc.pb.h"

namespace entrain::agent {

// What it heard, over all its restarts.
struct Heard {
  std::vector<v1::Hello> hellos;
  std::vector<v1::WorkerMessage> reports;  // each time they came
  std::int64_t heartbeats = 0;
  bool draining = false;
  std::map<std::uint32_t, std::vector<std::int64_t>> steps;  // by attempt, in the order stored, repeats left out
  std::map<std::uint32_t, std::int64_t> repeated;
  std::map<std::uint32_t, std::vector<std::int64_t>> evaluations;
  std::map<std::pair<std::string, std::uint32_t>, std::map<std::int64_t, double>> losses;  // by run and attempt, then step
  std::vector<std::string> log_lines;
};

// What its answers are made of: their numbers and keys are filled in, the rest is said as it stands.
struct CoordinatorWords {
  v1::CoordinatorMessage welcome;
  v1::CoordinatorMessage lease;
  v1::CoordinatorMessage acknowledged;
  v1::SampleAck sample_ack;
  v1::LogAck log_ack;
};

class FakeCoordinator : public v1::FleetService::Service {
 public:
  // `others` answers calls of other services; it outlives this.
  explicit FakeCoordinator(std::shared_ptr<grpc::ServerCredentials> credentials = grpc::InsecureServerCredentials(),
                           grpc::CallbackGenericService* others = nullptr);
  ~FakeCoordinator() override;

  // On the port of its first start.
  void Start();
  // Cuts every stream; what is sent meanwhile is not heard.
  void Stop();
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  void Say(const v1::CoordinatorMessage& message);
  void Launch(const v1::Launch& launch);
  void StopAttempt(std::uint32_t attempt, bool checkpoint);
  void Forget(std::uint32_t attempt);

  void set_acknowledge_reports(bool on) { Locked([&] { acknowledge_reports_ = on; }); }
  void set_acknowledge_samples(bool on) { Locked([&] { acknowledge_samples_ = on; }); }
  void set_peer_key(const std::string& key) { Locked([&] { words_.welcome.mutable_welcome()->set_peer_key(key); }); }
  void set_words(const CoordinatorWords& words) { Locked([&] { words_ = words; }); }
  void set_lease_ms(std::int64_t lease_ms) {
    Locked([&] {
      words_.welcome.mutable_welcome()->set_lease_ms(lease_ms);
      words_.lease.mutable_lease()->set_lease_ms(lease_ms);
    });
  }
  void Fence(std::uint32_t attempt) { Locked([&] { fenced_.insert(attempt); }); }

  Heard heard() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return heard_;
  }

  grpc::Status Control(grpc::ServerContext* context, grpc::ServerReaderWriter<v1::CoordinatorMessage, v1::WorkerMessage>* stream) override;
  grpc::Status Samples(grpc::ServerContext* context, grpc::ServerReaderWriter<v1::SampleAck, v1::SampleBatch>* stream) override;
  grpc::Status Logs(grpc::ServerContext* context, grpc::ServerReaderWriter<v1::LogAck, v1::LogChunk>* stream) override;

 private:
  template <typename F>
  void Locked(F f) {
    const std::lock_guard<std::mutex> lock(mutex_);
    f();
  }
  void Hear(const v1::WorkerMessage& message);

  const std::shared_ptr<grpc::ServerCredentials> credentials_;
  grpc::CallbackGenericService* const others_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
  std::mutex mutex_;
  grpc::ServerReaderWriter<v1::CoordinatorMessage, v1::WorkerMessage>* control_ = nullptr;
  CoordinatorWords words_;
  bool acknowledge_reports_ = true;
  bool acknowledge_samples_ = true;
  std::set<std::uint32_t> fenced_;
  Heard heard_;
};

}  // namespace entrain::agent
