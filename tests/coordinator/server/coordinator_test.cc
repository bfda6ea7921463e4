// A real coordinator in this process, over gRPC on a free port, with workers and people by hand.
#include "coordinator/server/coordinator.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include "base/strings.h"
#include "fleet_client.h"

namespace entrain::server {
namespace {

using testing::HasSubstr;

constexpr int kLayers = 2;
constexpr int kHeads = 2;
constexpr float kHealthyNats = 1.2F;

class CoordinatorTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = StrCat(testing::TempDir(), "/coordinator-", testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(dir_);
    options_.data_dir = dir_;
    options_.artifacts_dir = dir_ + "/artifacts";
    options_.listen = "127.0.0.1:0";
    options_.metrics_listen = "127.0.0.1:0";
    Start();
  }
  void TearDown() override {
    coordinator_.reset();
    std::filesystem::remove_all(dir_);
  }
  void Start() {
    auto started = Coordinator::Start(options_, &clock_, &ids_);
    ASSERT_TRUE(started.ok()) << started.status();
    coordinator_ = *std::move(started);
    person_ = std::make_unique<Person>(coordinator_->address());
  }
  void Restart() {
    ASSERT_TRUE(coordinator_->Stop().ok());
    coordinator_.reset();
    Start();
  }
  std::string Submit(const v1::SubmitRequest& request) {
    v1::SubmitResponse response;
    const grpc::Status status = person_->Submit(request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.sweep_id();
  }
  std::unique_ptr<FakeWorker> Worker(std::uint64_t incarnation = 1, const std::vector<domain::AttemptKey>& live = {}) {
    return std::make_unique<FakeWorker>(coordinator_->address(), "w1", 2, incarnation, live);
  }
  v1::SubmitRequest Small(int ranks = 1, int steps = 20) { return SmallSweep(options_.artifacts_dir, ranks, steps); }

  std::string dir_;
  Options options_;
  SystemClock clock_;
  SystemIdSource ids_;
  std::unique_ptr<Coordinator> coordinator_;
  std::unique_ptr<Person> person_;
};

TEST_F(CoordinatorTest, AWorkerByHandTakesARunToItsEnd) {
  const std::string sweep = Submit(Small());
  const auto worker = Worker();
  const auto welcome = worker->Await([](const auto& m) { return m.has_welcome(); });
  ASSERT_TRUE(welcome.has_value());
  EXPECT_EQ(welcome->welcome().lease_ms(), options_.lease_ms);
  const auto launch = worker->AwaitLaunch();
  ASSERT_TRUE(launch.has_value());
  EXPECT_EQ(launch->sweep_name(), "small");
  EXPECT_EQ(launch->n_layer(), kLayers);
  EXPECT_EQ(launch->steps(), 20);
  EXPECT_EQ(launch->gang(0).worker_id(), "w1");
  ASSERT_TRUE(worker->ReportStarted(launch->key()));
  EXPECT_TRUE(person_->AwaitState(sweep, "running"));
  v1::SampleAck ack;
  ASSERT_TRUE(worker->SendSamples(launch->key(), 1, 10, kLayers, kHeads, kHealthyNats, &ack).ok());
  EXPECT_EQ(ack.last_offset(), 10U);
  EXPECT_FALSE(ack.fenced());
  EXPECT_TRUE(Eventually([&] { return person_->GetSweep(sweep).runs(0).step() == 10; }));
  const v1::RunSummary live = person_->GetSweep(sweep).runs(0);
  EXPECT_EQ(live.eta_ms(), 1000);
  EXPECT_EQ(live.entropy_fraction_size(), kLayers * kHeads);
  EXPECT_NEAR(live.entropy_fraction(0), kHealthyNats / domain::EntropyBoundNats(16), 1e-3);
  ASSERT_TRUE(worker->ReportCheckpoint(launch->key(), 10));
  ASSERT_TRUE(worker->ReportEnded(launch->key(), "completed", 20));
  // Not before its last samples were judged.
  EXPECT_FALSE(person_->GetSweep(sweep).summary().finished());
  ASSERT_TRUE(worker->SendSamples(launch->key(), 11, 20, kLayers, kHeads, kHealthyNats, &ack).ok());
  ASSERT_TRUE(person_->AwaitState(sweep, "succeeded"));
  const v1::RunDetail run = person_->GetRun("SM+LN+G");
  EXPECT_EQ(run.summary().result_step(), 20);
  EXPECT_TRUE(run.summary().fully_judged());
  EXPECT_EQ(run.config_json(), launch->config_json());
  EXPECT_EQ(run.checkpoints_size(), 1);
  EXPECT_EQ(run.attempts(0).cause(), "completed");
  EXPECT_EQ(run.evaluations_size(), 2);
  EXPECT_GT(run.history_size(), 2);
  EXPECT_EQ(person_->Samples(run.summary().id()).size(), 20U);
}

TEST_F(CoordinatorTest, ACollapsingRunIsStoppedAndHalted) {
  const std::string sweep = Submit(Small(1, 200));
  const auto worker = Worker();
  const auto launch = worker->AwaitLaunch();
  ASSERT_TRUE(launch.has_value());
  ASSERT_TRUE(worker->ReportStarted(launch->key()));
  v1::SampleAck ack;
  ASSERT_TRUE(worker->SendSamples(launch->key(), 1, 100, kLayers, kHeads, 0.001F, &ack).ok());
  const auto stop = worker->Await([](const auto& m) { return m.has_stop(); });
  ASSERT_TRUE(stop.has_value());
  EXPECT_TRUE(stop->stop().checkpoint());
  ASSERT_TRUE(worker->ReportEnded(launch->key(), "stopped", 104));
  ASSERT_TRUE(person_->AwaitState(sweep, "halted"));
  const v1::RunDetail run = person_->GetRun(launch->key().run_id());
  EXPECT_EQ(run.summary().halt_reason(), "collapse");
  EXPECT_EQ(run.summary().result_step(), 17);
  EXPECT_EQ(run.verdict().step(), 17);
  EXPECT_FALSE(run.verdict().explanation().empty());
}

TEST_F(CoordinatorTest, EverythingSurvivesARestart) {
  const std::string sweep = Submit(Small(1, 200));
  std::optional<v1::Launch> launch;
  {
    const auto worker = Worker();
    launch = worker->AwaitLaunch();
    ASSERT_TRUE(launch.has_value());
    ASSERT_TRUE(worker->ReportStarted(launch->key()));
    v1::SampleAck ack;
    ASSERT_TRUE(worker->SendSamples(launch->key(), 1, 12, kLayers, kHeads, 0.001F, &ack).ok());
    ASSERT_TRUE(worker->SendLog(launch->key(), {"hello", "world"}, 12).ok());
  }
  Restart();
  EXPECT_EQ(person_->GetSweep("last").summary().id(), sweep);
  EXPECT_TRUE(person_->AwaitState(sweep, "running"));
  EXPECT_TRUE(Eventually([&] { return person_->GetSweep(sweep).runs(0).step() == 12; }));
  // The verdict rests on samples from before and after the restart.
  const auto worker = Worker(2, {{RunId(launch->key().run_id()), launch->key().attempt()}});
  v1::SampleAck ack;
  ASSERT_TRUE(worker->SendSamples(launch->key(), 9, 60, kLayers, kHeads, 0.001F, &ack).ok());
  ASSERT_TRUE(worker->Await([](const auto& m) { return m.has_stop(); }).has_value());
  EXPECT_EQ(person_->GetRun(launch->key().run_id()).verdict().step(), 17);
}

TEST_F(CoordinatorTest, SamplesOfAReplacedAttemptAreFenced) {
  Submit(Small());
  auto worker = Worker();
  const auto first = worker->AwaitLaunch();
  ASSERT_TRUE(first.has_value());
  ASSERT_TRUE(worker->ReportStarted(first->key()));
  ASSERT_TRUE(worker->ReportEnded(first->key(), "machine_lost", 3));
  const auto second = worker->AwaitLaunch();
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->key().attempt(), 2U);
  EXPECT_EQ(second->config_json(), first->config_json());
  v1::SampleAck ack;
  ASSERT_TRUE(worker->SendSamples(first->key(), 1, 3, kLayers, kHeads, kHealthyNats, &ack).ok());
  EXPECT_TRUE(ack.fenced());
  ASSERT_TRUE(worker->SendSamples(second->key(), 1, 3, kLayers, kHeads, kHealthyNats, &ack).ok());
  EXPECT_FALSE(ack.fenced());
}

TEST_F(CoordinatorTest, TheSameKeyGivesTheSameSweepAndAnotherContentIsRefused) {
  const std::string sweep = Submit(Small());
  EXPECT_EQ(Submit(Small()), sweep);
  v1::SubmitResponse response;
  const grpc::Status status = person_->Submit(Small(1, 30), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ALREADY_EXISTS);
}

TEST_F(CoordinatorTest, BadSweepsAreRefusedWithTheirPlace) {
  v1::SubmitRequest request = Small();
  request.set_yaml(request.yaml() + "colour: blue\n");
  v1::SubmitResponse response;
  grpc::Status status = person_->Submit(request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("colour"));
  EXPECT_THAT(status.error_message(), HasSubstr("line "));
  request = Small();
  request.mutable_datasets(0)->set_reference("text@ffffffffffffffffffffffffffffffff");
  status = person_->Submit(request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_THAT(status.error_message(), HasSubstr("text@ffff"));
  request.clear_datasets();
  EXPECT_EQ(person_->Submit(request, &response).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  request = Small();
  request.mutable_datasets(0)->set_reference("text@../../etc");
  EXPECT_FALSE(person_->Submit(request, &response).ok());
}

TEST_F(CoordinatorTest, StrictRefusesWhatNoWorkerCouldHold) {
  const auto worker = Worker();
  ASSERT_TRUE(worker->Await([](const auto& m) { return m.has_welcome(); }).has_value());
  v1::ListWorkersResponse workers;
  ASSERT_TRUE(Eventually([&] {
    grpc::ClientContext context;
    person_->stub()->ListWorkers(&context, {}, &workers);
    return workers.workers_size() == 1;
  }));
  EXPECT_EQ(workers.workers(0).state(), "live");
  v1::SubmitRequest request = Small(4);
  request.set_strict(true);
  v1::SubmitResponse response;
  EXPECT_EQ(person_->Submit(request, &response).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  request.set_strict(false);
  ASSERT_TRUE(person_->Submit(request, &response).ok());
  EXPECT_EQ(response.warnings_size(), 1);
  EXPECT_TRUE(Eventually([&] { return person_->GetSweep(response.sweep_id()).runs(0).never_placeable(); }));
}

TEST_F(CoordinatorTest, AnotherProtocolIsRefusedWithBothRanges) {
  FakeWorker worker(coordinator_->address(), "w9", 1, 1, {}, 99);
  const grpc::Status status = worker.AwaitEnd();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("99"));
  EXPECT_THAT(status.error_message(), HasSubstr("1 to 1"));
}

TEST_F(CoordinatorTest, ANewerConnectionReplacesTheOlder) {
  const auto older = Worker(1);
  ASSERT_TRUE(older->Await([](const auto& m) { return m.has_welcome(); }).has_value());
  const auto newer = Worker(2);
  ASSERT_TRUE(newer->Await([](const auto& m) { return m.has_welcome(); }).has_value());
  EXPECT_EQ(older->AwaitEnd().error_code(), grpc::StatusCode::CANCELLED);
  newer->Heartbeat();
  EXPECT_TRUE(newer->Await([](const auto& m) { return m.has_lease(); }).has_value());
  const auto stale = Worker(1);
  EXPECT_EQ(stale->AwaitEnd().error_code(), grpc::StatusCode::ALREADY_EXISTS);
}

TEST_F(CoordinatorTest, NonsenseEndsAStreamAndNothingElse) {
  Submit(Small());
  const auto worker = Worker();
  const auto launch = worker->AwaitLaunch();
  ASSERT_TRUE(launch.has_value());
  v1::SampleAck ack;
  EXPECT_EQ(worker->SendSamples(launch->key(), 1, 2, 9, 9, 1.0F, &ack).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(worker->SendSamples(launch->key(), 1, 500, kLayers, kHeads, 1.0F, &ack).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  v1::AttemptKey unknown;
  unknown.set_run_id("rnone");
  unknown.set_attempt(1);
  EXPECT_TRUE(worker->SendSamples(unknown, 1, 2, kLayers, kHeads, 1.0F, &ack).ok());
  EXPECT_TRUE(ack.fenced());
  unknown.set_run_id("../../etc/passwd");
  EXPECT_EQ(worker->SendSamples(unknown, 1, 2, kLayers, kHeads, 1.0F, &ack).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  v1::WorkerMessage message;
  message.mutable_ended()->set_cause("vanished");
  *message.mutable_ended()->mutable_key() = launch->key();
  worker->Send(message);
  EXPECT_EQ(worker->AwaitEnd().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(person_->GetSweep("last").runs_size(), 1);
}

TEST_F(CoordinatorTest, StopPauseResumeAndRetryByHand) {
  const std::string sweep = Submit(Small());
  const std::string run = person_->GetSweep(sweep).runs(0).id();
  grpc::ClientContext pause_context;
  v1::PauseRequest pause;
  pause.set_id(run.substr(0, 6));
  pause.set_by("ada");
  v1::PauseResponse paused;
  ASSERT_TRUE(person_->stub()->Pause(&pause_context, pause, &paused).ok());
  EXPECT_EQ(paused.runs(), 1);
  EXPECT_TRUE(person_->AwaitState(sweep, "paused"));
  grpc::ClientContext resume_context;
  v1::ResumeRequest resume;
  resume.set_id("last");
  v1::ResumeResponse resumed;
  ASSERT_TRUE(person_->stub()->Resume(&resume_context, resume, &resumed).ok());
  EXPECT_EQ(resumed.runs(), 1);
  grpc::ClientContext stop_context;
  v1::StopRequest stop;
  stop.set_id(sweep);
  v1::StopResponse stopped;
  ASSERT_TRUE(person_->stub()->Stop(&stop_context, stop, &stopped).ok());
  EXPECT_TRUE(person_->AwaitState(sweep, "cancelled"));
  grpc::ClientContext retry_context;
  v1::RetryRequest retry;
  retry.set_id(sweep);
  v1::RetryResponse retried;
  ASSERT_TRUE(person_->stub()->Retry(&retry_context, retry, &retried).ok());
  ASSERT_EQ(retried.run_ids_size(), 1);
  EXPECT_EQ(person_->GetRun(retried.run_ids(0)).summary().generation(), 2);
  EXPECT_EQ(person_->GetRun(run).summary().state(), "cancelled");
  grpc::ClientContext unknown_context;
  stop.set_id("nothing-like-it");
  EXPECT_EQ(person_->stub()->Stop(&unknown_context, stop, &stopped).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(CoordinatorTest, WatchFollowsASweepToItsEnd) {
  const std::string sweep = Submit(Small());
  grpc::ClientContext context;
  v1::WatchRequest request;
  request.set_sweep_id("last");
  const auto reader = person_->stub()->Watch(&context, request);
  v1::WatchUpdate update;
  ASSERT_TRUE(reader->Read(&update));
  EXPECT_EQ(update.sweep().runs(0).state(), "queued");
  grpc::ClientContext stop_context;
  v1::StopRequest stop;
  stop.set_id(sweep);
  v1::StopResponse stopped;
  ASSERT_TRUE(person_->stub()->Stop(&stop_context, stop, &stopped).ok());
  while (reader->Read(&update)) {
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(update.sweep().runs(0).state(), "cancelled");
}

TEST_F(CoordinatorTest, LogsComeBackOnceHoweverOftenTheyAreSent) {
  Submit(Small());
  const auto worker = Worker();
  const auto launch = worker->AwaitLaunch();
  ASSERT_TRUE(launch.has_value());
  ASSERT_TRUE(worker->SendLog(launch->key(), {"one", "two"}, 8).ok());
  ASSERT_TRUE(worker->SendLog(launch->key(), {"one", "two"}, 8).ok());
  ASSERT_TRUE(worker->SendLog(launch->key(), {"three"}, 14).ok());
  grpc::ClientContext context;
  v1::LogsRequest request;
  request.set_run_id(launch->key().run_id());
  const auto reader = person_->stub()->Logs(&context, request);
  std::vector<std::string> lines;
  v1::LogLine line;
  while (reader->Read(&line)) lines.push_back(line.text());
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_THAT(lines, testing::ElementsAre("one", "two", "three"));
}

// One call of any service, in its raw bytes; the first message of the answer.
std::string RawCall(const std::string& address, const std::string& method, const std::string& request) {
  grpc::GenericStub stub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto step = [&] {
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
  };
  const auto call = stub.PrepareCall(&context, method, &queue);
  call->StartCall(nullptr);
  step();
  const grpc::Slice slice(request);
  call->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), nullptr);
  step();
  grpc::ByteBuffer received;
  call->Read(&received, nullptr);
  step();
  grpc::Slice bytes;
  std::string answer;
  if (received.Valid() && received.DumpToSingleSlice(&bytes).ok()) answer.assign(bytes.begin(), bytes.end());
  context.TryCancel();
  grpc::Status status;
  call->Finish(&status, nullptr);
  step();
  return answer;
}

TEST_F(CoordinatorTest, ReflectionAndHealthAreOn) {
  // HealthCheckResponse{status: SERVING}.
  EXPECT_EQ(RawCall(coordinator_->address(), "/grpc.health.v1.Health/Check", ""), std::string("\x08\x01"));
  // ServerReflectionRequest{list_services: "*"}.
  const std::string services =
      RawCall(coordinator_->address(), "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "\x3a\x01*");
  EXPECT_THAT(services, HasSubstr("entrain.v1.SweepService"));
  EXPECT_THAT(services, HasSubstr("entrain.v1.FleetService"));
}

TEST_F(CoordinatorTest, ASecondOneOnTheSameDataOrPortIsRefused) {
  Options second = options_;
  EXPECT_EQ(Coordinator::Start(second, &clock_, &ids_).status().code(), absl::StatusCode::kUnavailable);
  second.data_dir = dir_ + "/other";
  second.listen = coordinator_->address();
  const absl::Status status = Coordinator::Start(second, &clock_, &ids_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr(coordinator_->address()));
}

}  // namespace
}  // namespace entrain::server
