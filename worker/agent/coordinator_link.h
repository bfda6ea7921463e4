// One connection to one coordinator: control, samples and logs, each a stream with its own queue. Dead once any of them is.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "entrain/v1/fleet_service.grpc.pb.h"
#include "transport/tls.h"
#include "worker/agent/stream.h"

namespace entrain::agent {

struct LinkHandlers {
  // All are called on gRPC's threads.
  std::function<void(const v1::CoordinatorMessage&)> on_control;
  std::function<void(const v1::SampleAck&)> on_sample_ack;
  std::function<void(const v1::LogAck&)> on_log_ack;
  std::function<void(const std::string& reason)> on_closed;  // at least once for a link that dies by itself
};

absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const std::string& address, const transport::TlsFiles& tls);

class CoordinatorLink {
 public:
  // Opens the control stream with `hello` as its first message. The channel outlives every holder of the token.
  CoordinatorLink(std::shared_ptr<grpc::Channel> channel, StreamToken token, v1::Hello hello, LinkHandlers handlers);
  // Cancels what is open; a handler may still be called afterwards.
  ~CoordinatorLink();
  CoordinatorLink(const CoordinatorLink&) = delete;
  CoordinatorLink& operator=(const CoordinatorLink&) = delete;

  // After the welcome: a standby has no data streams.
  void OpenDataStreams();

  // False when that stream's queue is full or it is over.
  bool SendControl(v1::WorkerMessage message) { return control_->Offer(std::move(message)); }
  bool SendSamples(v1::SampleBatch batch) { return samples_ && samples_->Offer(std::move(batch)); }
  bool SendLogs(v1::LogChunk chunk) { return logs_ && logs_->Offer(std::move(chunk)); }

 private:
  StreamToken token_;
  std::unique_ptr<v1::FleetService::Stub> stub_;
  LinkHandlers handlers_;
  std::shared_ptr<Stream<v1::WorkerMessage, v1::CoordinatorMessage>> control_;
  std::shared_ptr<Stream<v1::SampleBatch, v1::SampleAck>> samples_;
  std::shared_ptr<Stream<v1::LogChunk, v1::LogAck>> logs_;
};

}  // namespace entrain::agent
