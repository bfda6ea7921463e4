#include "tests/worker/agent/fake_coordinator.h"

#include <algorithm>
#include <chrono>

namespace entrain::agent {
namespace {

std::uint64_t ReportOf(const v1::WorkerMessage& message) {
  switch (message.body_case()) {
    case v1::WorkerMessage::kStarted: return message.started().report();
    case v1::WorkerMessage::kEnded: return message.ended().report();
    case v1::WorkerMessage::kCheckpoint: return message.checkpoint().report();
    default: return 0;
  }
}

CoordinatorWords DefaultWords() {
  CoordinatorWords words;
  words.welcome.mutable_welcome()->set_protocol_version(1);
  words.welcome.mutable_welcome()->set_lease_ms(10'000);
  words.welcome.mutable_welcome()->set_heartbeat_interval_ms(100);
  words.lease.mutable_lease()->set_lease_ms(10'000);
  return words;
}

}  // namespace

FakeCoordinator::FakeCoordinator(std::shared_ptr<grpc::ServerCredentials> credentials, grpc::CallbackGenericService* others)
    : credentials_(std::move(credentials)), others_(others), words_(DefaultWords()) {
  Start();
}
FakeCoordinator::~FakeCoordinator() { Stop(); }

void FakeCoordinator::Start() {
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:" + std::to_string(port_), credentials_, &port_);
  builder.RegisterService(this);
  if (others_ != nullptr) builder.RegisterCallbackGenericService(others_);
  server_ = builder.BuildAndStart();
}

void FakeCoordinator::Stop() {
  if (!server_) return;
  server_->Shutdown(std::chrono::system_clock::time_point{});
  server_->Wait();
  server_.reset();
}

void FakeCoordinator::Say(const v1::CoordinatorMessage& message) {
  Locked([&] {
    if (control_ != nullptr) control_->Write(message);
  });
}

void FakeCoordinator::Launch(const v1::Launch& launch) {
  v1::CoordinatorMessage message;
  *message.mutable_launch() = launch;
  Say(message);
}

void FakeCoordinator::StopAttempt(std::uint32_t attempt, bool checkpoint) {
  v1::CoordinatorMessage message;
  message.mutable_stop()->mutable_key()->set_run_id("run");
  message.mutable_stop()->mutable_key()->set_attempt(attempt);
  message.mutable_stop()->set_checkpoint(checkpoint);
  message.mutable_stop()->set_reason("the test says so");
  Say(message);
}

void FakeCoordinator::Forget(std::uint32_t attempt) {
  v1::CoordinatorMessage message;
  message.mutable_forget()->mutable_key()->set_run_id("run");
  message.mutable_forget()->mutable_key()->set_attempt(attempt);
  Say(message);
}

void FakeCoordinator::Hear(const v1::WorkerMessage& message) {
  v1::CoordinatorMessage answer;
  Locked([&] {
    if (message.has_hello()) {
      heard_.hellos.push_back(message.hello());
      answer = words_.welcome;
    } else if (message.has_heartbeat()) {
      ++heard_.heartbeats;
      heard_.draining = heard_.draining || message.heartbeat().draining();
      answer = words_.lease;
    } else {
      heard_.reports.push_back(message);
      if (!acknowledge_reports_) return;
      answer = words_.acknowledged;
      answer.mutable_acknowledged()->set_report(ReportOf(message));
    }
  });
  if (answer.body_case() != v1::CoordinatorMessage::BODY_NOT_SET) Say(answer);
}

grpc::Status FakeCoordinator::Control(grpc::ServerContext*, grpc::ServerReaderWriter<v1::CoordinatorMessage, v1::WorkerMessage>* stream) {
  Locked([&] { control_ = stream; });
  v1::WorkerMessage message;
  while (stream->Read(&message)) Hear(message);
  Locked([&] {
    if (control_ == stream) control_ = nullptr;
  });
  return grpc::Status::OK;
}

grpc::Status FakeCoordinator::Samples(grpc::ServerContext*, grpc::ServerReaderWriter<v1::SampleAck, v1::SampleBatch>* stream) {
  v1::SampleBatch batch;
  while (stream->Read(&batch)) {
    v1::SampleAck ack;
    bool answer = true;
    Locked([&] {
      ack = words_.sample_ack;
      *ack.mutable_key() = batch.key();
      ack.set_last_offset(batch.last_offset());
      const std::uint32_t attempt = batch.key().attempt();
      ack.set_fenced(fenced_.contains(attempt));
      answer = acknowledge_samples_;
      for (const v1::Sample& sample : batch.samples()) {
        std::vector<std::int64_t>& steps = heard_.steps[attempt];
        const bool known = std::find(steps.begin(), steps.end(), sample.step()) != steps.end();
        if (known) ++heard_.repeated[attempt];
        else steps.push_back(sample.step());
        heard_.losses[{batch.key().run_id(), attempt}][sample.step()] = sample.loss();
      }
      for (const v1::Evaluation& evaluation : batch.evaluations()) heard_.evaluations[attempt].push_back(evaluation.step());
    });
    if (answer) stream->Write(ack);
  }
  return grpc::Status::OK;
}

grpc::Status FakeCoordinator::Logs(grpc::ServerContext*, grpc::ServerReaderWriter<v1::LogAck, v1::LogChunk>* stream) {
  v1::LogChunk chunk;
  while (stream->Read(&chunk)) {
    v1::LogAck ack;
    Locked([&] {
      heard_.log_lines.insert(heard_.log_lines.end(), chunk.lines().begin(), chunk.lines().end());
      ack = words_.log_ack;
    });
    *ack.mutable_key() = chunk.key();
    ack.set_last_offset(chunk.last_offset());
    stream->Write(ack);
  }
  return grpc::Status::OK;
}

}  // namespace entrain::agent
