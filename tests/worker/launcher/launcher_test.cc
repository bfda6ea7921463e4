// Real processes under a real supervisor and mpirun: how gangs start, end and are killed, and that nothing of them stays.
#include "worker/launcher/launcher.h"

#include "gmock/gmock.h"
#include "tests/worker/launcher/gang_on_disk.h"

namespace entrain::launcher {
namespace {

using domain::AttemptEnd;
using domain::EndCause;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr FakeRun Endless() { return FakeRun{.steps = 1'000'000, .step_ms = 5}; }

AttemptEnd EndOf(const GangOnDisk& gang) { return CollectEnd(gang.root(), ReadProgress(gang.root())); }

bool NothingLeft(const GangOnDisk& gang) {
  return Eventually([&] { return gang.Processes().empty(); }, 10'000);
}

TEST(LauncherTest, SingleRankCompletes) {
  GangOnDisk gang(FakeRun{.steps = 3}, 1);
  ASSERT_TRUE(gang.Start().ok());
  ASSERT_TRUE(gang.WaitForEnd());
  const AttemptEnd end = EndOf(gang);
  EXPECT_EQ(end.cause, EndCause::kCompleted) << end.message;
  EXPECT_EQ(end.last_step, 3);
  EXPECT_EQ(end.exit_code, 0);
  EXPECT_EQ(end.loss, 1.5);
  EXPECT_EQ(end.tokens, 3 * 64);
  EXPECT_THAT(gang.Processes(), IsEmpty());
  const SupervisorExit exit = *ReadSupervisorExit(gang.folder());
  EXPECT_EQ(exit.reason, ExitReason::kExited);
  EXPECT_EQ(exit.killed, 0);
  EXPECT_FALSE(std::filesystem::exists(RuntimePathsOf(gang.root(), ::geteuid()).temporary));
}

TEST(LauncherTest, TwoRanksUnderMpirunComplete) {
  GangOnDisk gang(FakeRun{.steps = 3}, 2);
  ASSERT_TRUE(gang.Start().ok());
  ASSERT_TRUE(gang.WaitForEnd());
  EXPECT_EQ(EndOf(gang).cause, EndCause::kCompleted) << EndOf(gang).message;
  EXPECT_THAT(*ReadFile(gang.root() + "/log.txt"), HasSubstr("fake rank 1 begins"));
}

TEST(LauncherTest, StartingTwiceIsHarmlessWhileItRunsAndRefusedAfterwards) {
  GangOnDisk gang(Endless(), 1);
  ASSERT_TRUE(gang.Start().ok());
  const ProcessIdentity first = gang.supervisor();
  ASSERT_TRUE(gang.WaitForSteps(1));
  EXPECT_TRUE(gang.Start().ok());
  EXPECT_EQ(gang.supervisor(), first);
  EXPECT_EQ(gang.Processes().size(), 1u);
  ASSERT_TRUE(KillGang(gang.root(), 0).ok());
  EXPECT_EQ(gang.Start().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(gang.Processes(), IsEmpty());
}

TEST(LauncherTest, SupervisorIsASessionOfItsOwnOutsideThisProcess) {
  GangOnDisk gang(Endless(), 1);
  ASSERT_TRUE(gang.Start().ok());
  const std::optional<ProcessStat> stat = ReadStat(gang.supervisor().pid);
  ASSERT_TRUE(stat);
  EXPECT_EQ(stat->session, stat->pid);
  EXPECT_NE(stat->parent, ::getpid());
}

TEST(LauncherTest, ARanksSpecificCauseWinsOverTheOthers) {
  for (const std::string cause : {"non_finite", "out_of_memory", "storage", "user_error"}) {
    GangOnDisk gang(FakeRun{.end = cause, .end_rank = 1, .exit_status = 1}, 2);
    ASSERT_TRUE(gang.Start().ok());
    ASSERT_TRUE(gang.WaitForEnd());
    const AttemptEnd end = EndOf(gang);
    EXPECT_EQ(domain::ToString(end.cause), cause) << end.message;
    EXPECT_EQ(end.message, "rank 1: fake " + cause);
    EXPECT_NE(end.exit_code, 0);
  }
}

TEST(LauncherTest, StopCommandEndsAsStoppedWithACheckpoint) {
  GangOnDisk gang(Endless(), 2);
  ASSERT_TRUE(gang.Start().ok());
  ASSERT_TRUE(gang.WaitForSteps(2));
  ASSERT_TRUE(attempt::SendCommand(gang.folder().ReadSpec()->control_socket, {domain::StopMode::kCheckpoint, "test"}).ok());
  ASSERT_TRUE(gang.WaitForEnd());
  const AttemptEnd end = EndOf(gang);
  EXPECT_EQ(end.cause, EndCause::kStopped) << end.message;
  EXPECT_GE(end.last_step, 2);
}

TEST(LauncherTest, RankKilledMidwayIsACrashAndLeavesNobody) {
  GangOnDisk gang(Endless(), 2);
  ASSERT_TRUE(gang.Start().ok());
  ASSERT_TRUE(gang.WaitForSteps(3));
  ASSERT_EQ(::kill(gang.Find("fake_trainer"), SIGKILL), 0);
  ASSERT_TRUE(gang.WaitForEnd());
  const AttemptEnd end = EndOf(gang);
  EXPECT_EQ(end.cause, EndCause::kCrashed);
  EXPECT_GE(end.last_step, 3);
  EXPECT_THAT(end.message, HasSubstr("ranks left no record"));
  EXPECT_THAT(gang.Processes(), IsEmpty());
}

TEST(LauncherTest, MpirunKilledIsACrashAndLeavesNobody) {
  GangOnDisk gang(Endless(), 2);
  ASSERT_TRUE(gang.Start().ok());
  ASSERT_TRUE(gang.WaitForSteps(3));
  ASSERT_EQ(::kill(gang.Find("mpirun"), SIGKILL), 0);
  ASSERT_TRUE(gang.WaitForEnd());
  const AttemptEnd end = EndOf(gang);
  EXPECT_EQ(end.cause, EndCause::kCrashed);
  EXPECT_THAT(end.message, HasSubstr("signal 9"));
  EXPECT_EQ(end.exit_code, 128 + SIGKILL);
  EXPECT_THAT(gang.Processes(), IsEmpty());
}

TEST(LauncherTest, SupervisorKilledTakesTheWholeGangAlongWithoutAnyHelp) {
  for (const std::int64_t world_size : {1, 2}) {
    GangOnDisk gang(Endless(), world_size);
    ASSERT_TRUE(gang.Start().ok());
    ASSERT_TRUE(gang.WaitForSteps(3));
    ASSERT_TRUE(SignalProcess(gang.supervisor(), SIGKILL));
    EXPECT_TRUE(NothingLeft(gang)) << world_size;
    ASSERT_TRUE(gang.WaitForEnd());
    const AttemptEnd end = EndOf(gang);
    EXPECT_EQ(end.cause, EndCause::kCrashed);
    EXPECT_THAT(end.message, HasSubstr("supervisor was killed"));
  }
}

TEST(LauncherTest, FrozenRanksThatIgnoreSignalsAreKilledToo) {
  FakeRun run = Endless();
  run.ignore_signals = true;
  GangOnDisk gang(run, 2);
  ASSERT_TRUE(gang.Start().ok());
  ASSERT_TRUE(gang.WaitForSteps(1));
  ASSERT_EQ(::kill(gang.Find("fake_trainer"), SIGSTOP), 0);
  ASSERT_EQ(::kill(gang.Find("mpirun"), SIGSTOP), 0);
  ASSERT_TRUE(KillGang(gang.root(), 5000).ok());
  EXPECT_THAT(gang.Processes(), IsEmpty());
  EXPECT_EQ(*FindSupervisor(gang.root()), GangState::kEnded);
  EXPECT_EQ(ReadSupervisorExit(gang.folder())->reason, ExitReason::kAskedToEnd);
  EXPECT_THAT(EndOf(gang).message, HasSubstr("ended by its worker"));
}

TEST(LauncherTest, StraysInSessionsOfTheirOwnAreKilledWhenTheGangEnds) {
  GangOnDisk gang(FakeRun{.strays = true}, 2);
  gang.options().finished_grace_ms = 200;  // mpirun itself waits for whoever holds a rank's output
  ASSERT_TRUE(gang.Start().ok());
  ASSERT_TRUE(gang.WaitForEnd());
  EXPECT_EQ(EndOf(gang).cause, EndCause::kCompleted);
  EXPECT_THAT(gang.Processes(), IsEmpty());
}

TEST(LauncherTest, KillGangFindsStraysOfADeadSupervisor) {
  FakeRun run = Endless();
  run.strays = true;
  GangOnDisk gang(run, 2);
  ASSERT_TRUE(gang.Start().ok());
  ASSERT_TRUE(gang.WaitForSteps(1));
  ASSERT_TRUE(SignalProcess(gang.supervisor(), SIGKILL));
  ASSERT_TRUE(gang.WaitForEnd());
  ASSERT_TRUE(KillGang(gang.root(), 0).ok());
  EXPECT_THAT(gang.Processes(), IsEmpty());
}

TEST(LauncherTest, NoMpirunOrOneThatFailsIsALaunchFailure) {
  GangOnDisk missing(FakeRun{}, 2);
  missing.options().programs.mpirun = "/nonexistent/mpirun";
  ASSERT_TRUE(missing.Start().ok());
  ASSERT_TRUE(missing.WaitForEnd());
  EXPECT_EQ(EndOf(missing).cause, EndCause::kLaunch);
  EXPECT_THAT(EndOf(missing).message, HasSubstr("No such file or directory"));

  GangOnDisk failing(FakeRun{}, 2);
  failing.options().programs.mpirun = "/bin/false";
  ASSERT_TRUE(failing.Start().ok());
  ASSERT_TRUE(failing.WaitForEnd());
  EXPECT_EQ(EndOf(failing).cause, EndCause::kLaunch);
  EXPECT_THAT(EndOf(failing).message, HasSubstr("ended with status 1"));
}

TEST(LauncherTest, ExitWithoutRecordAfterTheGangWasUpIsACrashWithTheLog) {
  GangOnDisk gang(FakeRun{.steps = 2, .leave_record = false, .exit_status = 5}, 1);
  ASSERT_TRUE(gang.Start().ok());
  ASSERT_TRUE(gang.WaitForEnd());
  const AttemptEnd end = EndOf(gang);
  EXPECT_EQ(end.cause, EndCause::kCrashed);
  EXPECT_EQ(end.exit_code, 5);
  EXPECT_EQ(end.last_step, 2);
  EXPECT_THAT(end.message, HasSubstr("fake rank 0 begins"));
}

TEST(LauncherTest, GangWithoutADaemonIsStoppedAtACheckpointAndCountsAsALostMachine) {
  GangOnDisk gang(Endless(), 2);
  gang.options().daemon_absence_limit_ms = 700;
  ASSERT_TRUE(gang.Start().ok());
  ASSERT_TRUE(gang.WaitForSteps(1));
  // Renewed, it outlives several limits.
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(RenewGang(gang.root()).ok());
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  ASSERT_EQ(*FindSupervisor(gang.root()), GangState::kRunning);
  ASSERT_TRUE(gang.WaitForEnd());
  EXPECT_EQ(ReadSupervisorExit(gang.folder())->reason, ExitReason::kDaemonAbsent);
  EXPECT_EQ(EndOf(gang).cause, EndCause::kMachineLost);
  EXPECT_FALSE(std::filesystem::is_empty(gang.root() + "/checkpoints"));
  EXPECT_THAT(gang.Processes(), IsEmpty());
}

TEST(LauncherTest, AReusedPidIsNotTakenForTheSupervisor) {
  GangOnDisk gang(FakeRun{}, 1);
  EXPECT_EQ(*FindSupervisor(gang.root()), GangState::kNotStarted);
  ProcessIdentity other = IdentityOf(::getpid());
  other.start_ticks -= 1;
  ASSERT_TRUE(WriteSupervisorRecord(gang.folder(), {other}).ok());
  EXPECT_EQ(*FindSupervisor(gang.root()), GangState::kEnded);
  // This process would not survive a confusion.
  EXPECT_TRUE(KillGang(gang.root(), 0).ok());
}

TEST(LauncherTest, ADamagedSupervisorFileIsAnErrorThatNamesIt) {
  GangOnDisk gang(FakeRun{}, 1);
  ASSERT_TRUE(WriteFileAtomically(gang.root() + "/supervisor.json", "{\"pid\":12").ok());
  EXPECT_EQ(FindSupervisor(gang.root()).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(FindSupervisor(gang.root()).status().message()), HasSubstr("supervisor.json"));
  std::filesystem::remove(gang.root() + "/supervisor.json");
}

}  // namespace
}  // namespace entrain::launcher
