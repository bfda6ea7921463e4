#include "fleet_client.h"

#include <chrono>
#include <filesystem>
#include <fstream>

#include "artifacts/artifact_store.h"
#include "base/strings.h"

namespace entrain::server {
namespace {

void SetDeadline(grpc::ClientContext* context) {
  context->set_deadline(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(kPatienceMs, GPR_TIMESPAN)));
}

constexpr int kContext = 16;

}  // namespace

bool Eventually(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatienceMs);
  while (std::chrono::steady_clock::now() < deadline) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return condition();
}

std::string PathOf(const v1::AttemptKey& key, std::int64_t step) {
  return artifacts::CheckpointPath({RunId(key.run_id()), key.attempt()}, step);
}

FakeWorker::FakeWorker(const std::string& address, const std::string& id, int slots, std::uint64_t incarnation,
                       const std::vector<domain::AttemptKey>& live, std::uint32_t protocol, const Dial& dial)
    : channel_(grpc::CreateChannel(address, dial.credentials)), stub_(v1::FleetService::NewStub(channel_)) {
  stream_ = stub_->Control(&context_);
  v1::WorkerMessage message;
  v1::Hello* hello = message.mutable_hello();
  hello->set_protocol_version(protocol);
  hello->set_worker_id(id);
  hello->set_name(dial.name.empty() ? StrCat("host-", id) : dial.name);
  hello->set_version("test");
  hello->set_slot_kind("cpu");
  hello->set_slots(slots);
  hello->set_device("test cpu");
  hello->set_incarnation(incarnation);
  for (const domain::AttemptKey& key : live) {
    hello->add_live_attempts()->set_run_id(key.run.value());
    hello->mutable_live_attempts()->rbegin()->set_attempt(key.attempt);
  }
  stream_->Write(message);
  reader_ = std::thread([this] {
    v1::CoordinatorMessage received;
    while (stream_->Read(&received)) {
      std::lock_guard<std::mutex> lock(mutex_);
      inbox_.push_back(received);
      arrived_.notify_all();
    }
    const grpc::Status status = stream_->Finish();
    std::lock_guard<std::mutex> lock(mutex_);
    status_ = status;
    ended_ = true;
    arrived_.notify_all();
  });
}

FakeWorker::~FakeWorker() {
  context_.TryCancel();
  reader_.join();
}

std::optional<v1::CoordinatorMessage> FakeWorker::Await(const std::function<bool(const v1::CoordinatorMessage&)>& wanted) {
  std::unique_lock<std::mutex> lock(mutex_);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatienceMs);
  for (;;) {
    if (!arrived_.wait_until(lock, deadline, [&] { return ended_ || !inbox_.empty(); })) return std::nullopt;
    if (inbox_.empty()) return std::nullopt;
    v1::CoordinatorMessage message = inbox_.front();
    inbox_.pop_front();
    if (wanted(message)) return message;
  }
}

std::optional<v1::Launch> FakeWorker::AwaitLaunch() {
  const auto message = Await([](const auto& m) { return m.has_launch(); });
  if (!message) return std::nullopt;
  return message->launch();
}

void FakeWorker::Send(const v1::WorkerMessage& message) { stream_->Write(message); }

void FakeWorker::Heartbeat() {
  v1::WorkerMessage message;
  message.mutable_heartbeat();
  Send(message);
}

bool FakeWorker::AwaitAcknowledged(std::uint64_t report) {
  return Await([&](const auto& m) { return m.has_acknowledged() && m.acknowledged().report() == report; }).has_value();
}

bool FakeWorker::ReportStarted(const v1::AttemptKey& key) {
  v1::WorkerMessage message;
  message.mutable_started()->set_report(++reports_);
  *message.mutable_started()->mutable_key() = key;
  Send(message);
  return AwaitAcknowledged(reports_);
}

bool FakeWorker::ReportCheckpoint(const v1::AttemptKey& key, std::int64_t step) {
  v1::WorkerMessage message;
  v1::CheckpointPublished* published = message.mutable_checkpoint();
  published->set_report(++reports_);
  *published->mutable_key() = key;
  published->mutable_checkpoint()->set_attempt(key.attempt());
  published->mutable_checkpoint()->set_step(step);
  published->mutable_checkpoint()->set_path(PathOf(key, step));
  published->mutable_checkpoint()->set_bytes(kCheckpointBytes);
  published->mutable_checkpoint()->set_hash("abcd");
  Send(message);
  return AwaitAcknowledged(reports_);
}

bool FakeWorker::ReportEnded(const v1::AttemptKey& key, const std::string& cause, std::int64_t last_step) {
  v1::WorkerMessage message;
  message.mutable_ended()->set_report(++reports_);
  *message.mutable_ended()->mutable_key() = key;
  message.mutable_ended()->set_cause(cause);
  message.mutable_ended()->set_last_step(last_step);
  Send(message);
  return AwaitAcknowledged(reports_);
}

grpc::Status FakeWorker::SendSamples(const v1::AttemptKey& key, std::int64_t first, std::int64_t last, int layers, int heads,
                                     float entropy_nats, v1::SampleAck* ack) {
  grpc::ClientContext context;
  SetDeadline(&context);
  const auto stream = stub_->Samples(&context);
  v1::SampleBatch batch;
  *batch.mutable_key() = key;
  batch.set_last_offset(static_cast<std::uint64_t>(last));
  batch.set_n_head(heads);
  batch.set_context(kContext);
  for (std::int64_t step = first; step <= last; ++step) {
    v1::Sample* sample = batch.add_samples();
    sample->set_step(step);
    sample->set_loss(5.0 - 0.01 * static_cast<double>(step));
    sample->set_tokens(step * 64);
    sample->set_tokens_per_second(640.0);
    for (int i = 0; i < layers * heads; ++i) sample->add_entropy_nats(entropy_nats);
    for (int i = 0; i < layers; ++i) sample->add_max_abs_score(3.0F);
  }
  v1::Evaluation* evaluation = batch.add_evaluations();
  evaluation->set_step(last);
  evaluation->set_loss(4.5);
  stream->Write(batch);
  const bool acknowledged = stream->Read(ack);
  stream->WritesDone();
  const grpc::Status status = stream->Finish();
  return status.ok() && !acknowledged ? grpc::Status(grpc::StatusCode::UNKNOWN, "no acknowledgement") : status;
}

grpc::Status FakeWorker::SendLog(const v1::AttemptKey& key, const std::vector<std::string>& lines, std::uint64_t offset) {
  grpc::ClientContext context;
  SetDeadline(&context);
  const auto stream = stub_->Logs(&context);
  v1::LogChunk chunk;
  *chunk.mutable_key() = key;
  for (const std::string& line : lines) chunk.add_lines(line);
  chunk.set_last_offset(offset);
  stream->Write(chunk);
  v1::LogAck ack;
  stream->Read(&ack);
  stream->WritesDone();
  return stream->Finish();
}

grpc::Status FakeWorker::AwaitEnd() {
  std::unique_lock<std::mutex> lock(mutex_);
  arrived_.wait_for(lock, std::chrono::milliseconds(kPatienceMs), [&] { return ended_; });
  return ended_ ? status_ : grpc::Status(grpc::StatusCode::DEADLINE_EXCEEDED, "the stream did not end");
}

Person::Person(const std::string& address)
    : stub_(v1::SweepService::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()))) {}

grpc::Status Person::Submit(const v1::SubmitRequest& request, v1::SubmitResponse* response) {
  grpc::ClientContext context;
  SetDeadline(&context);
  return stub_->Submit(&context, request, response);
}

v1::Sweep Person::GetSweep(const std::string& id) {
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::GetSweepRequest request;
  request.set_sweep_id(id);
  v1::Sweep sweep;
  stub_->GetSweep(&context, request, &sweep);
  return sweep;
}

v1::RunDetail Person::GetRun(const std::string& id) {
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::GetRunRequest request;
  request.set_run_id(id);
  v1::RunDetail run;
  stub_->GetRun(&context, request, &run);
  return run;
}

std::vector<v1::Sample> Person::Samples(const std::string& run) {
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::FetchSamplesRequest request;
  request.set_run_id(run);
  std::vector<v1::Sample> samples;
  const auto reader = stub_->FetchSamples(&context, request);
  v1::FetchSamplesResponse part;
  while (reader->Read(&part)) samples.insert(samples.end(), part.samples().begin(), part.samples().end());
  reader->Finish();
  return samples;
}

bool Person::AwaitState(const std::string& sweep, const std::string& state) {
  return Eventually([&] {
    const v1::Sweep now = GetSweep(sweep);
    return now.runs_size() > 0 && now.runs(0).state() == state;
  });
}

v1::SubmitRequest SmallSweep(const std::string& artifacts, int ranks, int steps) {
  const std::string hash = "0123456789abcdef0123456789abcdef";
  std::filesystem::create_directories(artifacts + "/datasets/" + hash);
  std::ofstream(artifacts + "/datasets/" + hash + "/dataset.json") << "{\"vocab_size\": 256}";
  v1::SubmitRequest request;
  request.set_yaml(StrCat("name: small\ndata:\n  path: somewhere\nmodel:\n  n_layer: 2\n  n_head: 2\n  n_embd: 16\n",
                          "train:\n  steps: ", steps, "\n  batch_size: 4\n  context: ", kContext,
                          "\nresources:\n  ranks_per_machine: ", ranks, "\nvariants:\n  - SM+LN+G\n"));
  request.set_idempotency_key("key-1");
  request.set_owner("ada");
  v1::DatasetBinding* binding = request.add_datasets();
  binding->set_path("somewhere");
  binding->set_reference("text@" + hash);
  return request;
}

}  // namespace entrain::server
