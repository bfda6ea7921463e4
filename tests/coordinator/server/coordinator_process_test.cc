// The real program: what survives kill -9, and what it says when it cannot serve.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "base/strings.h"
#include "fleet_client.h"

namespace entrain::server {
namespace {

using testing::HasSubstr;

class CoordinatorProcessTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = StrCat(testing::TempDir(), "/process-", testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
  }
  void TearDown() override {
    if (pid_ > 0) End(SIGKILL);
    std::filesystem::remove_all(dir_);
  }
  void Launch(const std::vector<std::string>& more) {
    std::vector<std::string> args{StrCat(ENTRAIN_BIN_DIR, "/entrain-coordinator"), "--data-dir", dir_ + "/data"};
    args.insert(args.end(), more.begin(), more.end());
    pid_ = fork();
    ASSERT_GE(pid_, 0);
    if (pid_ > 0) return;
    std::vector<char*> argv;
    for (std::string& arg : args) argv.push_back(arg.data());
    argv.push_back(nullptr);
    const int log = open((dir_ + "/log").c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0600);
    dup2(log, 1);
    dup2(log, 2);
    execv(argv[0], argv.data());
    _exit(127);
  }
  void Serve(std::vector<std::string> more = {}) {
    std::filesystem::remove(dir_ + "/address");
    more.insert(more.end(), {"--listen", "127.0.0.1:0", "--address-file", dir_ + "/address"});
    Launch(more);
    ASSERT_TRUE(Eventually([&] { return std::filesystem::exists(dir_ + "/address"); })) << LogText();
    address_ = *ReadFile(dir_ + "/address");
    address_.pop_back();
  }
  int End(int signal) {
    kill(pid_, signal);
    return AwaitExit();
  }
  int AwaitExit() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  std::string LogText() { return ReadFile(dir_ + "/log").value_or(""); }

  std::string dir_;
  std::string address_;
  pid_t pid_ = 0;
};

TEST_F(CoordinatorProcessTest, AnAcknowledgedSubmitSurvivesKillNine) {
  Serve();
  const v1::SubmitRequest request = SmallSweep(dir_ + "/data/artifacts");
  v1::SubmitResponse response;
  ASSERT_TRUE(Person(address_).Submit(request, &response).ok()) << LogText();
  EXPECT_EQ(End(SIGKILL), -SIGKILL);
  Serve();
  Person person(address_);
  const v1::Sweep sweep = person.GetSweep("last");
  EXPECT_EQ(sweep.summary().id(), response.sweep_id());
  EXPECT_EQ(sweep.summary().owner(), "ada");
  EXPECT_EQ(sweep.yaml(), request.yaml());
  v1::SubmitResponse again;
  ASSERT_TRUE(person.Submit(request, &again).ok());
  EXPECT_EQ(again.sweep_id(), response.sweep_id());
  EXPECT_EQ(End(SIGTERM), 0);
}

TEST_F(CoordinatorProcessTest, AnAttemptOutlivesACoordinatorThatIsKilled) {
  Serve();
  v1::SubmitResponse response;
  ASSERT_TRUE(Person(address_).Submit(SmallSweep(dir_ + "/data/artifacts"), &response).ok());
  v1::AttemptKey key;
  {
    FakeWorker worker(address_, "w1", 2, 1);
    const auto launch = worker.AwaitLaunch();
    ASSERT_TRUE(launch.has_value()) << LogText();
    key = launch->key();
    ASSERT_TRUE(worker.ReportStarted(key));
    End(SIGKILL);
  }
  Serve();
  FakeWorker worker(address_, "w1", 2, 2, {{RunId(key.run_id()), key.attempt()}});
  v1::SampleAck ack;
  ASSERT_TRUE(worker.SendSamples(key, 1, 20, 2, 2, 1.2F, &ack).ok());
  EXPECT_FALSE(ack.fenced());
  ASSERT_TRUE(worker.ReportEnded(key, "completed", 20));
  Person person(address_);
  EXPECT_TRUE(person.AwaitState(response.sweep_id(), "succeeded"));
  EXPECT_EQ(person.GetRun(key.run_id()).attempts_size(), 1);
}

TEST_F(CoordinatorProcessTest, KilledBetweenSnapshotsItGoesOnAndReplayGivesTheSameFacts) {
  v1::SubmitResponse response;
  for (int life = 1; life <= 3; ++life) {
    Serve({"--snapshot-every-facts", "2"});
    v1::SubmitRequest request = SmallSweep(dir_ + "/data/artifacts");
    request.set_idempotency_key(StrCat("life-", life));
    ASSERT_TRUE(Person(address_).Submit(request, &response).ok()) << LogText();
    FakeWorker worker(address_, "w1", 2, static_cast<std::uint64_t>(life));
    const auto launch = worker.AwaitLaunch();
    ASSERT_TRUE(launch.has_value()) << LogText();
    ASSERT_TRUE(worker.ReportStarted(launch->key()));
    v1::SampleAck ack;
    ASSERT_TRUE(worker.SendSamples(launch->key(), 1, 20, 2, 2, 1.2F, &ack).ok());
    ASSERT_TRUE(worker.ReportEnded(launch->key(), "completed", 20));
    EXPECT_TRUE(Person(address_).AwaitState(response.sweep_id(), "succeeded"));
    EXPECT_TRUE(Eventually([&] { return LogText().find("snapshot written") != std::string::npos; })) << LogText();
    EXPECT_EQ(End(life < 3 ? SIGKILL : SIGTERM), life < 3 ? -SIGKILL : 0);
    // Also with what a kill left behind.
    Launch({"replay"});
    EXPECT_EQ(AwaitExit(), 0) << LogText();
    EXPECT_THAT(LogText(), testing::ContainsRegex("^[0-9]+ events give the same [0-9]+ facts\n$"));
  }
  Serve();
  EXPECT_TRUE(Person(address_).AwaitState(response.sweep_id(), "succeeded"));
}

TEST_F(CoordinatorProcessTest, ReplayOfNothingIsOneClearLine) {
  Launch({"replay"});
  EXPECT_EQ(AwaitExit(), 1);
  EXPECT_THAT(LogText(), HasSubstr("data/coordinator.db"));
}

TEST_F(CoordinatorProcessTest, ADamagedDatabaseIsOneClearLine) {
  std::filesystem::create_directories(dir_ + "/data");
  std::ofstream(dir_ + "/data/coordinator.db") << std::string(8192, 'x');
  Launch({"--listen", "127.0.0.1:0"});
  EXPECT_EQ(AwaitExit(), 1);
  EXPECT_THAT(LogText(), HasSubstr("coordinator.db is damaged"));
  const std::string text = LogText();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
}

TEST_F(CoordinatorProcessTest, AnAddressForOtherMachinesNeedsTls) {
  Launch({"--listen", "0.0.0.0:0"});
  EXPECT_EQ(AwaitExit(), 64);
  EXPECT_THAT(LogText(), HasSubstr("TLS"));
}

TEST_F(CoordinatorProcessTest, WrongFlagsAreUsageErrors) {
  Launch({"--lease-ms", "soon"});
  EXPECT_EQ(AwaitExit(), 64);
  Launch({"--lease-ms", "1000", "--heartbeat-ms", "900"});
  EXPECT_EQ(AwaitExit(), 64);
  EXPECT_THAT(LogText(), HasSubstr("--heartbeat-ms 900"));
}

}  // namespace
}  // namespace entrain::server
