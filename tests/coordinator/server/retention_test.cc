// Retention in a whole coordinator: what the core retires is deleted, and people see what went.
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "artifacts/artifact_store.h"
#include "base/strings.h"
#include "coordinator/server/coordinator.h"
#include "fleet_client.h"

namespace entrain::server {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr int kRetentionLayers = 2;
constexpr int kRetentionHeads = 2;

class RetentionTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = StrCat(testing::TempDir(), "/retention-", testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(dir_);
    options_.data_dir = dir_;
    options_.artifacts_dir = dir_ + "/artifacts";
    options_.listen = "127.0.0.1:0";
    options_.metrics_listen = "127.0.0.1:0";
    options_.retention_interval_s = 0;
    options_.retention.keep_newest = 2;
    Start();
  }
  void TearDown() override {
    coordinator_.reset();
    fs::remove_all(dir_);
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
  // A run that has trained to its end, with checkpoints at steps 5, 10, 15 and 20.
  std::string RunToEnd(int steps = 20) {
    v1::SubmitResponse response;
    EXPECT_TRUE(person_->Submit(SmallSweep(options_.artifacts_dir, 1, steps), &response).ok());
    FakeWorker worker(coordinator_->address(), "w1", 2, 1);
    const auto launch = worker.AwaitLaunch();
    EXPECT_TRUE(worker.ReportStarted(launch->key()));
    for (const std::int64_t step : {5, 10, 15, 20}) {
      const std::string path = StrCat(options_.artifacts_dir, "/", PathOf(launch->key(), step));
      fs::create_directories(path);
      std::ofstream(path + "/model.safetensors") << std::string(FakeWorker::kCheckpointBytes, 'w');
      EXPECT_TRUE(worker.ReportCheckpoint(launch->key(), step));
    }
    v1::SampleAck ack;
    EXPECT_TRUE(worker.SendSamples(launch->key(), 1, steps, kRetentionLayers, kRetentionHeads, 1.2F, &ack).ok());
    EXPECT_TRUE(worker.SendLog(launch->key(), {"one", "two", "three"}, 3).ok());
    EXPECT_TRUE(worker.ReportEnded(launch->key(), "completed", steps));
    EXPECT_TRUE(person_->AwaitState(response.sweep_id(), "succeeded"));
    sweep_ = response.sweep_id();
    return launch->key().run_id();
  }
  v1::CollectGarbageResponse Collect(bool dry) {
    v1::CollectGarbageRequest request;
    request.set_dry_run(dry);
    v1::CollectGarbageResponse response;
    grpc::ClientContext context;
    const grpc::Status status = person_->stub()->CollectGarbage(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }
  grpc::Status Release() {
    v1::ReleaseRequest request;
    request.set_sweep_id(sweep_);
    request.set_by("ada");
    v1::ReleaseResponse response;
    grpc::ClientContext context;
    return person_->stub()->Release(&context, request, &response);
  }
  std::vector<std::string> Steps(const std::string& run) const {
    std::vector<std::string> steps;
    for (const auto& entry : fs::directory_iterator(StrCat(options_.artifacts_dir, "/checkpoints/", run, "/1"))) steps.push_back(entry.path().filename());
    std::sort(steps.begin(), steps.end());
    return steps;
  }

  std::string dir_;
  std::string sweep_;
  Options options_;
  SystemClock clock_;
  SystemIdSource ids_;
  std::unique_ptr<Coordinator> coordinator_;
  std::unique_ptr<Person> person_;
};

TEST_F(RetentionTest, ADryRunSaysWhatAPassThenDeletes) {
  const std::string run = RunToEnd();
  const v1::CollectGarbageResponse dry = Collect(/*dry=*/true);
  ASSERT_EQ(dry.items_size(), 2);
  EXPECT_EQ(dry.items(0).kind(), "checkpoint");
  EXPECT_THAT(dry.items(0).reason(), HasSubstr("newest 2"));
  EXPECT_FALSE(dry.items(0).deleted());
  EXPECT_EQ(Steps(run).size(), 4U);
  EXPECT_EQ(person_->GetRun(run).retired_size(), 0);

  const v1::CollectGarbageResponse done = Collect(/*dry=*/false);
  ASSERT_EQ(done.items_size(), 2);
  EXPECT_TRUE(done.items(0).deleted());
  EXPECT_THAT(Steps(run), ElementsAre("step-00000015", "step-00000020"));
  const v1::RunDetail detail = person_->GetRun(run);
  EXPECT_EQ(detail.checkpoints_size(), 2);
  ASSERT_EQ(detail.retired_size(), 2);
  EXPECT_EQ(detail.retired(1).checkpoint().step(), 10);
  EXPECT_GT(detail.retired(1).wall_ms(), 0);
  EXPECT_EQ(Collect(/*dry=*/false).items_size(), 0);
}

TEST_F(RetentionTest, TheLastOneGoesOnlyOnceTheSweepIsReleased) {
  options_.retention.artifact_quota_bytes = 1;
  Restart();
  const std::string run = RunToEnd();
  Collect(/*dry=*/false);
  EXPECT_THAT(Steps(run), ElementsAre("step-00000020"));
  ASSERT_TRUE(Release().ok());
  EXPECT_EQ(person_->GetSweep(sweep_).summary().released_by(), "ada");
  Restart();
  EXPECT_GT(person_->GetSweep(sweep_).summary().released_wall_ms(), 0);
  Collect(/*dry=*/false);
  EXPECT_THAT(Steps(run), ElementsAre());
  // What the sweep came to stays.
  EXPECT_EQ(person_->GetSweep(sweep_).runs(0).state(), "succeeded");
  EXPECT_GT(person_->GetSweep(sweep_).runs(0).eval_loss(), 0.0);
}

TEST_F(RetentionTest, WhatWasRetiredBeforeAKillIsDeletedAfterIt) {
  const std::string run = RunToEnd();
  // The core has retired them; the files could not be moved away before the process died.
  fs::create_directories(options_.artifacts_dir);
  std::ofstream(options_.artifacts_dir + "/.trash") << "in the way";
  v1::CollectGarbageRequest request;
  v1::CollectGarbageResponse response;
  grpc::ClientContext context;
  EXPECT_FALSE(person_->stub()->CollectGarbage(&context, request, &response).ok());
  EXPECT_EQ(person_->GetRun(run).retired_size(), 2);
  EXPECT_EQ(Steps(run).size(), 4U);
  fs::remove(options_.artifacts_dir + "/.trash");
  Restart();
  EXPECT_EQ(Collect(/*dry=*/false).items_size(), 2);
  EXPECT_THAT(Steps(run), ElementsAre("step-00000015", "step-00000020"));
}

TEST_F(RetentionTest, AFetchOfADeletedCheckpointSaysWhy) {
  const std::string run = RunToEnd();
  Collect(/*dry=*/false);
  v1::FetchCheckpointRequest request;
  request.set_run_id(run);
  request.set_attempt(1);
  request.set_step(10);
  grpc::ClientContext context;
  const auto reader = person_->stub()->FetchCheckpoint(&context, request);
  v1::CheckpointPiece piece;
  EXPECT_FALSE(reader->Read(&piece));
  EXPECT_THAT(reader->Finish().error_message(), HasSubstr("deleted by retention"));
}

TEST_F(RetentionTest, ThinnedSamplesAreSaidToBeAndTheResultsStay) {
  options_.retention.sample_quota_bytes = 1;
  options_.retention.log_quota_bytes = 1;
  Restart();
  const std::string run = RunToEnd(60);
  const v1::RunSummary before = person_->GetRun(run).summary();
  // The leaderboard's numbers are read again, not remembered.
  Collect(/*dry=*/false);
  Restart();
  const v1::RunDetail after = person_->GetRun(run);
  EXPECT_GT(after.samples_thinned_every(), 1);
  EXPECT_EQ(after.summary().loss(), before.loss());
  EXPECT_EQ(after.summary().tokens(), before.tokens());
  EXPECT_EQ(after.summary().best_eval_loss(), before.best_eval_loss());
  EXPECT_THAT(after.summary().entropy_fraction(), testing::ElementsAreArray(before.entropy_fraction()));
  const std::vector<v1::Sample> samples = person_->Samples(run);
  EXPECT_LT(samples.size(), 20U);
  EXPECT_EQ(samples.back().step(), 60);
  v1::LogsRequest request;
  request.set_run_id(run);
  grpc::ClientContext context;
  const auto reader = person_->stub()->Logs(&context, request);
  v1::LogLine line;
  ASSERT_TRUE(reader->Read(&line));
  EXPECT_THAT(line.text(), HasSubstr("2 earlier lines were deleted by retention"));
  ASSERT_TRUE(reader->Read(&line));
  EXPECT_EQ(line.text(), "three");
}

TEST_F(RetentionTest, ALiveRunIsNotReleased) {
  v1::SubmitResponse response;
  ASSERT_TRUE(person_->Submit(SmallSweep(options_.artifacts_dir, 1, 20), &response).ok());
  sweep_ = response.sweep_id();
  EXPECT_EQ(Release().error_code(), grpc::StatusCode::FAILED_PRECONDITION);
}

}  // namespace
}  // namespace entrain::server
