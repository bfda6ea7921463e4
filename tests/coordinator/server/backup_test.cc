// Backups of a coordinator that serves, and what it does after one came back.
#include "coordinator/server/backup.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/strings.h"
#include "coordinator/server/coordinator.h"
#include "fleet_client.h"

namespace entrain::server {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr int kBackupLayers = 2;
constexpr int kBackupHeads = 2;
constexpr float kBackupHealthyNats = 1.2F;

class BackupTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = StrCat(testing::TempDir(), "/backup-", testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(dir_);
    fs::create_directories(dir_);
    options_.data_dir = dir_ + "/data";
    options_.artifacts_dir = dir_ + "/artifacts";
    options_.listen = "127.0.0.1:0";
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
  // The data folder is lost.
  void Lose() {
    coordinator_.reset();
    fs::remove_all(options_.data_dir);
  }
  std::string Backup() const { return dir_ + "/backup"; }
  void Damage(const std::string& file) {
    std::fstream damaged(Backup() + "/" + file, std::ios::in | std::ios::out | std::ios::binary);
    damaged.seekp(100);
    damaged.put('\x7f');
  }
  std::string CheckpointDir(const v1::AttemptKey& key, int step) const {
    return StrCat(options_.artifacts_dir, "/", PathOf(key, step));
  }
  void MakeCheckpoint(const v1::AttemptKey& key, int step) const { fs::create_directories(CheckpointDir(key, step)); }
  std::unique_ptr<FakeWorker> Worker(std::uint64_t incarnation, const std::vector<domain::AttemptKey>& live = {}) {
    return std::make_unique<FakeWorker>(coordinator_->address(), "w1", 1, incarnation, live);
  }

  std::string dir_;
  Options options_;
  SystemClock clock_;
  SystemIdSource ids_;
  std::unique_ptr<Coordinator> coordinator_;
  std::unique_ptr<Person> person_;
};

TEST_F(BackupTest, AfterARestoreNoNumberIsGivenOutTwiceAndNothingOfBeforeIsAccepted) {
  v1::SubmitResponse sweep;
  ASSERT_TRUE(person_->Submit(SmallSweep(options_.artifacts_dir, 1, 200), &sweep).ok());
  std::optional<v1::Launch> launch;
  {
    const auto worker = Worker(1);
    launch = worker->AwaitLaunch();
    ASSERT_TRUE(launch.has_value());
    ASSERT_TRUE(worker->ReportStarted(launch->key()));
    v1::SampleAck ack;
    ASSERT_TRUE(worker->SendSamples(launch->key(), 1, 60, kBackupLayers, kBackupHeads, kBackupHealthyNats, &ack).ok());
    for (const int step : {50, 55, 80}) MakeCheckpoint(launch->key(), step);
    ASSERT_TRUE(worker->ReportCheckpoint(launch->key(), 50));
    ASSERT_TRUE(worker->ReportCheckpoint(launch->key(), 55));
    // A checkpoint overtakes its samples: they are acknowledged after the backup.
    ASSERT_TRUE(worker->ReportCheckpoint(launch->key(), 80));
    const auto bytes = coordinator_->BackUp(Backup());
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    EXPECT_GT(*bytes, 0);
    ASSERT_TRUE(worker->SendSamples(launch->key(), 61, 100, kBackupLayers, kBackupHeads, kBackupHealthyNats, &ack).ok());
    // The run goes on as attempt 2, of which the backup knows nothing, and which leaves a checkpoint.
    ASSERT_TRUE(worker->ReportEnded(launch->key(), "crashed", 100));
    const auto second = worker->AwaitLaunch();
    ASSERT_TRUE(second.has_value());
    ASSERT_EQ(second->key().attempt(), 2U);
    fs::create_directories(StrCat(options_.artifacts_dir, "/checkpoints/", launch->key().run_id(), "/2/step-00000090"));
    // Retention deletes one that the backup lists.
    fs::remove_all(CheckpointDir(launch->key(), 55));
  }
  Lose();
  ASSERT_TRUE(RestoreBackup(Backup(), options_.data_dir).ok());
  Start();

  const v1::RunDetail run = person_->GetRun(launch->key().run_id());
  EXPECT_EQ(run.summary().state(), "queued");
  ASSERT_EQ(run.checkpoints_size(), 1);
  EXPECT_EQ(run.checkpoints(0).step(), 50);
  // The worker comes back with both attempts; neither may go on.
  const RunId id(launch->key().run_id());
  const auto worker = Worker(2, {{id, 1}, {id, 2}});
  std::set<std::uint32_t> forgotten;
  while (forgotten.size() < 2) {
    const auto forget = worker->Await([](const auto& m) { return m.has_forget(); });
    ASSERT_TRUE(forget.has_value());
    forgotten.insert(forget->forget().key().attempt());
  }
  EXPECT_EQ(forgotten, (std::set<std::uint32_t>{1, 2}));
  v1::SampleAck ack;
  ASSERT_TRUE(worker->SendSamples(launch->key(), 101, 110, kBackupLayers, kBackupHeads, kBackupHealthyNats, &ack).ok());
  EXPECT_TRUE(ack.fenced());
  ASSERT_TRUE(worker->ReportCheckpoint(launch->key(), 110));
  EXPECT_EQ(person_->GetRun(id.value()).checkpoints_size(), 1);
  // It says that the old gang is gone; only then are its slots free for the next attempt.
  ASSERT_TRUE(worker->ReportEnded(launch->key(), "fenced", 110));
  const auto next = worker->AwaitLaunch();
  ASSERT_TRUE(next.has_value());
  EXPECT_EQ(next->key().attempt(), 1'000'001U);
  EXPECT_EQ(next->resume_from().step(), 50);
  // Samples that the old attempt sent after its checkpoint are replaced.
  ASSERT_TRUE(worker->ReportStarted(next->key()));
  ASSERT_TRUE(worker->SendSamples(next->key(), 51, 55, kBackupLayers, kBackupHeads, kBackupHealthyNats, &ack).ok());
  EXPECT_FALSE(ack.fenced());
  EXPECT_EQ(person_->Samples(id.value()).size(), 55U);
  // A restart after the first is an ordinary one.
  coordinator_.reset();
  Start();
  EXPECT_EQ(person_->GetRun(id.value()).summary().attempt(), 1'000'001U);
  EXPECT_NE(person_->GetRun(id.value()).summary().state(), "queued");
}

TEST_F(BackupTest, ABackupOfAStoppedCoordinatorIsOneToo) {
  v1::SubmitResponse sweep;
  ASSERT_TRUE(person_->Submit(SmallSweep(options_.artifacts_dir, 1, 200), &sweep).ok());
  EXPECT_TRUE(absl::IsUnavailable(BackUpStopped(options_.data_dir, Backup(), &clock_).status()));
  coordinator_.reset();
  ASSERT_TRUE(BackUpStopped(options_.data_dir, Backup(), &clock_).ok());
  EXPECT_EQ(BackUpStopped(options_.data_dir, Backup(), &clock_).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(RestoreBackup(Backup(), options_.data_dir).code(), absl::StatusCode::kAlreadyExists);
  fs::remove_all(options_.data_dir);
  ASSERT_TRUE(RestoreBackup(Backup(), options_.data_dir).ok());
  Start();
  EXPECT_EQ(person_->GetSweep("last").summary().id(), sweep.sweep_id());
}

TEST_F(BackupTest, DamageIsNamedAndNothingIsRestored) {
  ASSERT_TRUE(coordinator_->BackUp(Backup()).ok());
  ASSERT_TRUE(CheckBackup(Backup()).ok());
  Lose();
  Damage("coordinator.samples.db");
  const absl::Status status = RestoreBackup(Backup(), options_.data_dir);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("coordinator.samples.db"));
  EXPECT_FALSE(fs::exists(options_.data_dir));
  Damage("manifest");
  EXPECT_THAT(std::string(CheckBackup(Backup()).message()), HasSubstr("manifest"));
}

TEST_F(BackupTest, ARestoreThatWasCutShortIsNoStoreAndCanBeSaidAgain) {
  v1::SubmitResponse sweep;
  ASSERT_TRUE(person_->Submit(SmallSweep(options_.artifacts_dir, 1, 200), &sweep).ok());
  ASSERT_TRUE(coordinator_->BackUp(Backup()).ok());
  Lose();
  ASSERT_TRUE(RestoreBackup(Backup(), options_.data_dir).ok());
  // As if it had died before the last rename.
  fs::rename(options_.data_dir + "/coordinator.db", options_.data_dir + "/coordinator.db.restoring");
  ASSERT_TRUE(RestoreBackup(Backup(), options_.data_dir).ok());
  EXPECT_THAT(*RestoredMark(options_.data_dir), HasSubstr("restored from a backup"));
  Start();
  EXPECT_EQ(person_->GetSweep("last").summary().id(), sweep.sweep_id());
  EXPECT_TRUE(RestoredMark(options_.data_dir)->empty());
}

TEST_F(BackupTest, BackupsWhileEverythingIsWrittenAreWhole) {
  v1::SubmitResponse sweep;
  ASSERT_TRUE(person_->Submit(SmallSweep(options_.artifacts_dir, 1, 100'000), &sweep).ok());
  const auto worker = Worker(1);
  const auto launch = worker->AwaitLaunch();
  ASSERT_TRUE(launch.has_value());
  ASSERT_TRUE(worker->ReportStarted(launch->key()));
  std::atomic<bool> ending = false;
  std::thread writer([&] {
    v1::SampleAck ack;
    for (std::int64_t step = 1; !ending; step += 50) {
      EXPECT_TRUE(worker->SendSamples(launch->key(), step, step + 49, kBackupLayers, kBackupHeads, kBackupHealthyNats, &ack).ok());
      EXPECT_TRUE(worker->ReportCheckpoint(launch->key(), step));
    }
  });
  for (int i = 0; i < 10; ++i) {
    const std::string to = StrCat(dir_, "/b", i);
    const auto bytes = coordinator_->BackUp(to);
    EXPECT_TRUE(bytes.ok()) << bytes.status();
    const std::string data = StrCat(dir_, "/d", i);
    ASSERT_TRUE(RestoreBackup(to, data).ok());
    const auto store = store::OpenSqliteStore(data + "/coordinator.db");
    ASSERT_TRUE(store.ok()) << store.status();
    std::int64_t newest = 0;
    EXPECT_TRUE((*store)->Replay([&](const domain::Fact& fact) {
      if (const auto* recorded = std::get_if<domain::CheckpointRecorded>(&fact.body)) newest = recorded->checkpoint.step;
    }).ok());
    // Samples were acknowledged before their checkpoint was reported, so that none is missing.
    const auto last = (*store)->ReadLastSample(RunId(launch->key().run_id()), 16, 1'000'000'000);
    ASSERT_TRUE(last.ok());
    EXPECT_GE(last->has_value() ? last->value().sample.step : 0, newest);
  }
  ending = true;
  writer.join();
}

}  // namespace
}  // namespace entrain::server
