// A coordinator's fleet service that records what a worker says and says what a test wants. Real gRPC on loopback.
#pragma once

#include <grpcpp/grpcpp.h>

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "entrain/v1/fleet_service.grpc.pb.h"

namespace entrain::agent {

// What it heard, over all its restarts.
struct Heard {
  std::vector<v1::Hello> hellos;
  std::vector<v1::WorkerMessage> reports;  // each time they came
  bool draining = false;
  std::map<std::uint32_t, std::vector<std::int64_t>> steps;  // by attempt, in the order stored, repeats left out
  std::map<std::uint32_t, std::int64_t> repeated;
  std::map<std::uint32_t, std::vector<std::int64_t>> evaluations;
  std::vector<std::string> log_lines;
};

class FakeCoordinator : public v1::FleetService::Service {
 public:
  explicit FakeCoordinator(std::shared_ptr<grpc::ServerCredentials> credentials = grpc::InsecureServerCredentials());
  ~FakeCoordinator() override;

  // On the port of its first start.
  void Start();
  // Cuts every stream; what is sent meanwhile is not heard.
  void Stop();
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  void Launch(const v1::Launch& launch);
  void StopAttempt(std::uint32_t attempt, bool checkpoint);
  void Forget(std::uint32_t attempt);

  void set_acknowledge_reports(bool on) { Locked([&] { acknowledge_reports_ = on; }); }
  void set_acknowledge_samples(bool on) { Locked([&] { acknowledge_samples_ = on; }); }
  void set_peer_key(const std::string& key) { Locked([&] { peer_key_ = key; }); }
  void set_lease_ms(std::int64_t lease_ms) { Locked([&] { lease_ms_ = lease_ms; }); }
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
  void Send(const v1::CoordinatorMessage& message);
  void Hear(const v1::WorkerMessage& message);

  const std::shared_ptr<grpc::ServerCredentials> credentials_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
  std::mutex mutex_;
  grpc::ServerReaderWriter<v1::CoordinatorMessage, v1::WorkerMessage>* control_ = nullptr;
  std::string peer_key_;
  std::int64_t lease_ms_ = 10'000;
  bool acknowledge_reports_ = true;
  bool acknowledge_samples_ = true;
  std::set<std::uint32_t> fenced_;
  Heard heard_;
};

}  // namespace entrain::agent
