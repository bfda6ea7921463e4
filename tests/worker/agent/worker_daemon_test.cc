// The real daemon, supervisor and mpirun with a fake trainer, against a fleet service in the test: launches, reports, samples, and
// what survives when the daemon or the coordinator dies.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <numeric>

#include "artifacts/artifact_store.h"
#include "gmock/gmock.h"
#include "sweep/run_config_json.h"
#include "tests/worker/agent/fake_coordinator.h"
#include "tests/worker/launcher/gang_on_disk.h"

namespace entrain::agent {
namespace {

using launcher::Eventually;
using launcher::FakeRun;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr char kDatasetHash[] = "0123456789abcdef";

std::vector<std::int64_t> StepsThrough(std::int64_t last) {
  std::vector<std::int64_t> steps(static_cast<std::size_t>(last));
  std::iota(steps.begin(), steps.end(), 1);
  return steps;
}

// Kinds of the reports in the order they came, repeats left out: "started", "checkpoint 3", "ended completed".
std::vector<std::string> ReportTexts(const Heard& heard) {
  std::vector<std::string> texts;
  for (const v1::WorkerMessage& report : heard.reports) {
    std::string text = "started";
    if (report.has_checkpoint()) text = StrCat("checkpoint ", report.checkpoint().checkpoint().step());
    if (report.has_ended()) text = StrCat("ended ", report.ended().cause());
    if (std::find(texts.begin(), texts.end(), text) == texts.end()) texts.push_back(text);
  }
  return texts;
}

class WorkerDaemonTest : public testing::Test {
 protected:
  WorkerDaemonTest() : root_(StrCat(std::filesystem::canonical(testing::TempDir()).string(), "/worker-", ::getpid(), "-", ++count_)) {
    std::filesystem::remove_all(root_);
    EXPECT_TRUE(MakeFolders(StrCat(root_, "/artifacts/datasets/", kDatasetHash)).ok());
  }
  ~WorkerDaemonTest() override {
    if (daemon_ > 0) Kill();
    for (const std::uint32_t attempt : {1u, 2u}) EXPECT_TRUE(launcher::KillGang(Folder(attempt), 0).ok());
    if (HasFailure()) std::fprintf(stderr, "%s\n", ReadFile(root_ + "/daemon.log").value_or("").c_str());
    std::filesystem::remove_all(root_);
  }

  std::string Folder(std::uint32_t attempt) const { return StrCat(root_, "/worker/attempts/run.", attempt); }
  std::vector<pid_t> Gang(std::uint32_t attempt) const { return launcher::GangProcesses(0, 0, Folder(attempt)); }

  void StartDaemon() {
    const launcher::ProgramPaths programs = launcher::FakePrograms();
    std::vector<std::string> arguments = {std::string(ENTRAIN_BIN_DIR) + "/entrain-worker", "--coordinator", coordinator_.address(),
                                          "--dir", root_ + "/worker", "--artifacts", root_ + "/artifacts", "--slots", "4",
                                          "--slot-kind", "cpu", "--name", "test", "--trainer", programs.trainer,
                                          "--drain-limit-ms", "20000"};
    std::vector<char*> pointers;
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    const std::string log = root_ + "/daemon.log";
    const std::size_t hellos = coordinator_.heard().hellos.size();
    daemon_ = ::fork();
    if (daemon_ == 0) {
      const int descriptor = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
      ::dup2(descriptor, 1);
      ::dup2(descriptor, 2);
      ::execv(pointers[0], pointers.data());
      ::_exit(127);
    }
    ASSERT_TRUE(Eventually([&] { return coordinator_.heard().hellos.size() > hellos; })) << ReadFile(log).value_or("");
  }
  void Kill() {
    ::kill(daemon_, SIGKILL);
    ::waitpid(daemon_, nullptr, 0);
    daemon_ = 0;
  }
  int WaitForExit() {
    int status = -1;
    const bool gone = Eventually([&] { return ::waitpid(daemon_, &status, WNOHANG) == daemon_; });
    if (gone) daemon_ = 0;
    return gone && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  v1::Launch MakeLaunch(const FakeRun& run, std::int64_t ranks, std::uint32_t attempt = 1) {
    EXPECT_TRUE(WriteFileAtomically(StrCat(root_, "/artifacts/datasets/", kDatasetHash, "/fake.json"), run.ToJson()).ok());
    domain::RunConfig config;
    config.dataset = {"text", kDatasetHash};
    config.resources.ranks_per_machine = ranks;
    v1::Launch launch;
    launch.mutable_key()->set_run_id("run");
    launch.mutable_key()->set_attempt(attempt);
    v1::GangMember* member = launch.add_gang();
    member->set_worker_id(coordinator_.heard().hellos.front().worker_id());
    for (std::int64_t slot = 0; slot < ranks; ++slot) member->add_slots(static_cast<std::int32_t>(slot));
    launch.set_config_json(sweep::ToCanonicalJson(config));
    launch.set_sweep_name("sweep");
    launch.set_variant("SM");
    launch.set_label("SM seed=1");
    launch.set_n_layer(2);
    launch.set_n_head(2);
    launch.set_context(64);
    launch.set_steps(run.steps);
    return launch;
  }
  bool WaitForReport(const std::string& text) {
    return Eventually([&] {
      const std::vector<std::string> texts = ReportTexts(coordinator_.heard());
      return std::find(texts.begin(), texts.end(), text) != texts.end();
    });
  }
  bool WaitForSamples(std::size_t count, std::uint32_t attempt = 1) {
    return Eventually([&] { return coordinator_.heard().steps[attempt].size() >= count; });
  }
  bool WaitForFolderGone(std::uint32_t attempt) {
    return Eventually([&] { return !std::filesystem::exists(Folder(attempt)); });
  }
  v1::AttemptEnded LastEnd() {
    v1::AttemptEnded end;
    for (const v1::WorkerMessage& report : coordinator_.heard().reports) {
      if (report.has_ended()) end = report.ended();
    }
    return end;
  }

  static inline int count_ = 0;
  std::string root_;
  FakeCoordinator coordinator_;
  pid_t daemon_ = 0;
};

TEST_F(WorkerDaemonTest, AGangFromLaunchToEnd) {
  StartDaemon();
  coordinator_.Launch(MakeLaunch(FakeRun{.steps = 20, .step_ms = 5, .checkpoint_interval = 10}, 2));
  ASSERT_TRUE(WaitForReport("ended completed"));
  ASSERT_TRUE(WaitForFolderGone(1));
  Heard heard = coordinator_.heard();
  EXPECT_THAT(ReportTexts(heard), ElementsAre("started", "checkpoint 10", "checkpoint 20", "ended completed"));
  EXPECT_EQ(heard.steps[1], StepsThrough(20));
  EXPECT_EQ(heard.repeated[1], 0);
  EXPECT_EQ(LastEnd().last_step(), 20);
  EXPECT_EQ(LastEnd().tokens(), 20 * 64);
  EXPECT_THAT(heard.log_lines, Contains("[1] fake rank 1 begins"));
  EXPECT_EQ(heard.hellos.front().slots(), 4);
  EXPECT_EQ(heard.hellos.front().protocol_version(), 1u);
  const auto store = artifacts::OpenArtifactFolder(root_ + "/artifacts").value();
  EXPECT_EQ(ReadFile(*store->Resolve(artifacts::CheckpointPath({RunId("run"), 1}, 20)) + "/step").value(), "20");
  EXPECT_THAT(Gang(1), IsEmpty());
}

TEST_F(WorkerDaemonTest, LaunchTwiceStartsOnce) {
  StartDaemon();
  const v1::Launch launch = MakeLaunch(FakeRun{.steps = 100'000, .step_ms = 5}, 1);
  coordinator_.Launch(launch);
  coordinator_.Launch(launch);
  ASSERT_TRUE(WaitForSamples(3));
  coordinator_.Launch(launch);
  ASSERT_TRUE(WaitForSamples(20));
  EXPECT_THAT(Gang(1), SizeIs(1));
}

TEST_F(WorkerDaemonTest, ResumesFromAPublishedCheckpoint) {
  StartDaemon();
  coordinator_.Launch(MakeLaunch(FakeRun{.steps = 10, .checkpoint_interval = 10}, 1));
  ASSERT_TRUE(WaitForReport("ended completed"));
  v1::Launch second = MakeLaunch(FakeRun{.steps = 15}, 1, 2);
  for (const v1::WorkerMessage& report : coordinator_.heard().reports) {
    if (report.has_checkpoint()) *second.mutable_resume_from() = report.checkpoint().checkpoint();
  }
  coordinator_.Launch(second);
  ASSERT_TRUE(Eventually([&] { return LastEnd().key().attempt() == 2; }));
  EXPECT_EQ(LastEnd().cause(), "completed");
  ASSERT_TRUE(WaitForSamples(5, 2));
  EXPECT_THAT(coordinator_.heard().steps[2], ElementsAre(11, 12, 13, 14, 15));
}

TEST_F(WorkerDaemonTest, AKilledDaemonIsReplacedWithoutTheGangNoticing) {
  StartDaemon();
  coordinator_.Launch(MakeLaunch(FakeRun{.steps = 200, .step_ms = 10, .checkpoint_interval = 50}, 2));
  ASSERT_TRUE(WaitForSamples(20));
  const std::vector<pid_t> gang = Gang(1);
  ASSERT_THAT(gang, SizeIs(3));
  Kill();
  const std::int64_t at_kill = launcher::ReadProgress(Folder(1)).last_step;
  ASSERT_TRUE(Eventually([&] { return launcher::ReadProgress(Folder(1)).last_step > at_kill + 20; }));
  StartDaemon();
  EXPECT_EQ(Gang(1), gang);
  ASSERT_TRUE(WaitForReport("ended completed"));
  ASSERT_TRUE(WaitForFolderGone(1));
  Heard heard = coordinator_.heard();
  EXPECT_EQ(heard.steps[1], StepsThrough(200));
  ASSERT_THAT(heard.hellos, SizeIs(2));
  EXPECT_EQ(heard.hellos[0].worker_id(), heard.hellos[1].worker_id());
  EXPECT_GT(heard.hellos[1].incarnation(), heard.hellos[0].incarnation());
  ASSERT_EQ(heard.hellos[1].live_attempts_size(), 1);
  EXPECT_EQ(heard.hellos[1].live_attempts(0).run_id(), "run");
  EXPECT_THAT(ReportTexts(heard), testing::IsSupersetOf({"checkpoint 50", "checkpoint 100", "checkpoint 150", "checkpoint 200"}));
}

TEST_F(WorkerDaemonTest, ARestartedDaemonReportsWhatEndedMeanwhile) {
  StartDaemon();
  coordinator_.Launch(MakeLaunch(FakeRun{.steps = 60, .step_ms = 10, .checkpoint_interval = 20}, 2));
  ASSERT_TRUE(WaitForSamples(5));
  Kill();
  ASSERT_TRUE(Eventually([&] { return *launcher::FindSupervisor(Folder(1)) == launcher::GangState::kEnded; }));
  StartDaemon();
  ASSERT_TRUE(WaitForReport("ended completed"));
  ASSERT_TRUE(WaitForFolderGone(1));
  Heard heard = coordinator_.heard();
  EXPECT_EQ(heard.steps[1], StepsThrough(60));
  const std::vector<std::string> texts = ReportTexts(heard);
  EXPECT_EQ(texts.back(), "ended completed");
  EXPECT_THAT(texts, testing::IsSupersetOf({"checkpoint 20", "checkpoint 40", "checkpoint 60"}));
}

TEST_F(WorkerDaemonTest, WhatTheCoordinatorDidNotAcknowledgeIsSentAgainAfterItsRestart) {
  StartDaemon();
  coordinator_.set_acknowledge_reports(false);
  coordinator_.set_acknowledge_samples(false);
  coordinator_.Launch(MakeLaunch(FakeRun{.steps = 150, .step_ms = 10}, 1));
  ASSERT_TRUE(WaitForReport("started"));
  ASSERT_TRUE(WaitForSamples(10));
  coordinator_.Stop();
  const std::int64_t at_stop = launcher::ReadProgress(Folder(1)).last_step;
  ASSERT_TRUE(Eventually([&] { return launcher::ReadProgress(Folder(1)).last_step > at_stop + 20; }));
  coordinator_.set_acknowledge_reports(true);
  coordinator_.set_acknowledge_samples(true);
  coordinator_.Start();
  ASSERT_TRUE(WaitForReport("ended completed"));
  ASSERT_TRUE(WaitForFolderGone(1));
  Heard heard = coordinator_.heard();
  std::vector<std::uint64_t> started;
  for (const v1::WorkerMessage& report : heard.reports) {
    if (report.has_started()) started.push_back(report.started().report());
  }
  ASSERT_GE(started.size(), 2u);
  EXPECT_EQ(started.front(), started.back());
  EXPECT_EQ(heard.steps[1], StepsThrough(150));
  EXPECT_GE(heard.repeated[1], 10);
  ASSERT_THAT(heard.hellos, SizeIs(2));
  EXPECT_EQ(heard.hellos[1].live_attempts_size(), 1);
}

TEST_F(WorkerDaemonTest, AFencedAttemptIsKilledAndDropped) {
  StartDaemon();
  coordinator_.Launch(MakeLaunch(FakeRun{.steps = 100'000, .step_ms = 5}, 2));
  ASSERT_TRUE(WaitForSamples(5));
  coordinator_.Fence(1);
  ASSERT_TRUE(WaitForFolderGone(1));
  EXPECT_THAT(Gang(1), IsEmpty());
}

TEST_F(WorkerDaemonTest, AForgottenAttemptIsKilledAndDropped) {
  StartDaemon();
  coordinator_.Launch(MakeLaunch(FakeRun{.steps = 100'000, .step_ms = 5, .ignore_signals = true}, 2));
  ASSERT_TRUE(WaitForSamples(5));
  coordinator_.Forget(1);
  ASSERT_TRUE(WaitForFolderGone(1));
  EXPECT_THAT(Gang(1), IsEmpty());
}

TEST_F(WorkerDaemonTest, AStopEndsTheGangAfterItsLastCheckpointIsPublished) {
  StartDaemon();
  coordinator_.Launch(MakeLaunch(FakeRun{.steps = 100'000, .step_ms = 5}, 2));
  ASSERT_TRUE(WaitForSamples(5));
  coordinator_.StopAttempt(1, true);
  ASSERT_TRUE(WaitForReport("ended stopped"));
  const std::vector<std::string> texts = ReportTexts(coordinator_.heard());
  EXPECT_THAT(texts, ElementsAre("started", StrCat("checkpoint ", LastEnd().last_step()), "ended stopped"));
  EXPECT_TRUE(WaitForFolderGone(1));
}

TEST_F(WorkerDaemonTest, AStopDuringTheLaunchEndsItToo) {
  StartDaemon();
  coordinator_.Launch(MakeLaunch(FakeRun{.steps = 100'000, .step_ms = 5, .ready = false}, 2));
  coordinator_.StopAttempt(1, true);
  ASSERT_TRUE(WaitForReport("ended stopped"));
  EXPECT_THAT(Gang(1), IsEmpty());
  EXPECT_TRUE(WaitForFolderGone(1));
}

TEST_F(WorkerDaemonTest, AKilledRankIsReportedAsACrash) {
  StartDaemon();
  coordinator_.Launch(MakeLaunch(FakeRun{.steps = 100'000, .step_ms = 5}, 2));
  ASSERT_TRUE(WaitForSamples(5));
  const std::vector<pid_t> gang = Gang(1);
  ASSERT_THAT(gang, SizeIs(3));
  ASSERT_EQ(::kill(gang.back(), SIGKILL), 0);
  ASSERT_TRUE(WaitForReport("ended crashed"));
  EXPECT_THAT(Gang(1), IsEmpty());
}

TEST_F(WorkerDaemonTest, WhatCannotBeLaunchedEndsAtOnceWithItsReason) {
  StartDaemon();
  v1::Launch launch = MakeLaunch(FakeRun{}, 1);
  std::filesystem::remove_all(StrCat(root_, "/artifacts/datasets/", kDatasetHash));
  coordinator_.Launch(launch);
  ASSERT_TRUE(WaitForReport("ended user_error"));
  EXPECT_THAT(LastEnd().message(), HasSubstr("text@0123456789abcdef"));

  ASSERT_TRUE(MakeFolders(StrCat(root_, "/artifacts/datasets/", kDatasetHash)).ok());
  v1::Launch resumed = MakeLaunch(FakeRun{}, 1, 2);
  resumed.mutable_resume_from()->set_path("checkpoints/run/1/step-00000007");
  resumed.mutable_resume_from()->set_step(7);
  coordinator_.Launch(resumed);
  ASSERT_TRUE(WaitForReport("ended storage"));
  EXPECT_THAT(LastEnd().message(), HasSubstr("step 7"));
  EXPECT_TRUE(WaitForFolderGone(2));
}

TEST_F(WorkerDaemonTest, ASignalDrains) {
  StartDaemon();
  coordinator_.Launch(MakeLaunch(FakeRun{.steps = 100'000, .step_ms = 5}, 2));
  ASSERT_TRUE(WaitForSamples(5));
  ASSERT_EQ(::kill(daemon_, SIGTERM), 0);
  EXPECT_EQ(WaitForExit(), 0);
  Heard heard = coordinator_.heard();
  EXPECT_TRUE(heard.draining);
  EXPECT_EQ(ReportTexts(heard).back(), "ended stopped");
  EXPECT_EQ(heard.steps[1], StepsThrough(LastEnd().last_step()));
  EXPECT_FALSE(std::filesystem::exists(Folder(1)));
  EXPECT_THAT(Gang(1), IsEmpty());
}

TEST_F(WorkerDaemonTest, ASecondSignalEndsTheDaemonAndLeavesTheGang) {
  StartDaemon();
  coordinator_.Launch(MakeLaunch(FakeRun{.steps = 100'000, .step_ms = 3000}, 1));
  ASSERT_TRUE(WaitForReport("started"));
  ASSERT_EQ(::kill(daemon_, SIGINT), 0);
  ASSERT_TRUE(Eventually([&] { return coordinator_.heard().draining; }));
  ASSERT_EQ(::kill(daemon_, SIGINT), 0);
  EXPECT_EQ(WaitForExit(), 130);
  EXPECT_THAT(Gang(1), SizeIs(1));
}

TEST_F(WorkerDaemonTest, TwoDaemonsNeverShareAFolder) {
  StartDaemon();
  const pid_t first = daemon_;
  const std::string log = root_ + "/second.log";
  const std::string command = StrCat(ENTRAIN_BIN_DIR, "/entrain-worker --coordinator 127.0.0.1:1 --dir ", root_, "/worker --artifacts ",
                                     root_, "/artifacts --slots 1 --slot-kind cpu --trainer /bin/true > ", log, " 2>&1");
  EXPECT_EQ(WEXITSTATUS(std::system(command.c_str())), 1);
  EXPECT_THAT(ReadFile(log).value(), HasSubstr("in use by another entrain-worker"));
  daemon_ = first;
}

}  // namespace
}  // namespace entrain::agent
