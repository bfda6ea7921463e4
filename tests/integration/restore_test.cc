// The rehearsal of docs/operations.md on the real programs: a backup in the middle of a sweep, the data folder lost, restored, and the sweep
// ends as if nothing had happened.
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>

#include "base/strings.h"
#include "tests/integration/cluster.h"

namespace entrain::testing {
namespace {

namespace fs = std::filesystem;

constexpr int kSteps = 2000;
constexpr char kTrain[] = "  checkpoint_interval_steps: 100\n";
constexpr unsigned kFirstNumberAfterARestore = 1'000'001;

int RunTool(const Cluster& cluster, const std::vector<std::string>& arguments) {
  std::vector<std::string> command{StrCat(ENTRAIN_BIN_DIR, "/entrain-coordinator")};
  command.insert(command.end(), arguments.begin(), arguments.end());
  Process tool = Process::Start(command, cluster.root() + "/tool.log");
  return tool.Wait(60'000);
}

class Restore : public ::testing::Test {
 protected:
  static std::string Sweep() { return SmallSweep("restore", "SM+LN+G", kSteps, 2, kTrain); }
  struct Outcome {
    v1::RunSummary run;
    std::vector<v1::Sample> samples;
    std::string weights;
  };
  static Outcome OutcomeOf(Cluster& cluster, const std::string& sweep) {
    Outcome outcome;
    outcome.run = cluster.AwaitState(sweep, "succeeded", 180'000);
    outcome.samples = cluster.Samples(outcome.run.id());
    outcome.weights = cluster.FinalWeights(outcome.run.id());
    return outcome;
  }
  static const Outcome& Undisturbed() {
    static const Outcome outcome = [] {
      Cluster cluster("restore-undisturbed");
      cluster.StartCoordinator();
      cluster.StartWorker("w1", 2);
      return OutcomeOf(cluster, cluster.Submit(Sweep()));
    }();
    return outcome;
  }
  static void ExpectAsUndisturbed(const Outcome& outcome) {
    const Outcome& quiet = Undisturbed();
    EXPECT_EQ(outcome.run.loss(), quiet.run.loss());
    EXPECT_EQ(outcome.run.eval_loss(), quiet.run.eval_loss());
    EXPECT_EQ(outcome.run.best_eval_loss(), quiet.run.best_eval_loss());
    EXPECT_EQ(outcome.run.tokens(), quiet.run.tokens());
    EXPECT_TRUE(outcome.run.fully_judged());
    ASSERT_EQ(outcome.samples.size(), quiet.samples.size());
    for (std::size_t i = 0; i < quiet.samples.size(); ++i) {
      EXPECT_EQ(outcome.samples[i].step(), quiet.samples[i].step());
      EXPECT_EQ(outcome.samples[i].loss(), quiet.samples[i].loss()) << "step " << quiet.samples[i].step();
    }
    EXPECT_FALSE(quiet.weights.empty());
    EXPECT_TRUE(outcome.weights == quiet.weights) << "final weights differ";
  }
  void BackUpInTheMiddle(Cluster& cluster) {
    cluster.StartCoordinator();
    cluster.StartWorker("w1", 2);
    sweep_ = cluster.Submit(Sweep());
    run_ = cluster.AwaitStep(sweep_, 150).id();
    ASSERT_EQ(RunTool(cluster, {"backup", "--data-dir", cluster.root() + "/data", "--to", cluster.root() + "/backup"}), 0) << cluster.LogTail("tool.log");
  }
  void LoseAndRestore(Cluster& cluster) {
    cluster.coordinator().KillNow();
    fs::remove_all(cluster.root() + "/data");
    ASSERT_EQ(RunTool(cluster, {"restore", "--data-dir", cluster.root() + "/data", "--from", cluster.root() + "/backup"}), 0) << cluster.LogTail("tool.log");
    cluster.StartCoordinator();
  }
  std::string sweep_;
  std::string run_;
};

TEST_F(Restore, ASweepUnderWayEndsAsIfNothingHadHappened) {
  Cluster cluster("restore-live");
  BackUpInTheMiddle(cluster);
  // Samples of these steps are acknowledged, and forgotten by the worker, after the backup.
  cluster.AwaitStep(sweep_, 600);
  LoseAndRestore(cluster);
  const Outcome outcome = OutcomeOf(cluster, sweep_);
  EXPECT_EQ(outcome.run.attempt(), kFirstNumberAfterARestore);
  ExpectAsUndisturbed(outcome);
  EXPECT_TRUE(Eventually([&] { return cluster.GangProcesses().empty(); })) << "processes left behind";
}

TEST_F(Restore, AttemptsThatTheBackupDoesNotKnowAreFenced) {
  Cluster cluster("restore-attempts");
  BackUpInTheMiddle(cluster);
  // After the backup the gang dies twice: attempts 2 and 3 leave checkpoints, and the third is alive when the store comes back without them.
  for (const unsigned attempt : {2U, 3U}) {
    const auto pids = cluster.GangProcesses("entrain-trainer");
    ASSERT_FALSE(pids.empty());
    kill(pids.front(), SIGKILL);
    cluster.AwaitRun(sweep_, [&](const v1::RunSummary& run) { return run.attempt() == attempt && run.state() == "running"; });
    cluster.AwaitStep(sweep_, 300 * attempt);
  }
  LoseAndRestore(cluster);
  const Outcome outcome = OutcomeOf(cluster, sweep_);
  EXPECT_EQ(outcome.run.attempt(), kFirstNumberAfterARestore);
  ExpectAsUndisturbed(outcome);
}

TEST_F(Restore, ARunThatEndedAfterTheBackupIsRunToItsEndAgain) {
  Cluster cluster("restore-ended");
  BackUpInTheMiddle(cluster);
  cluster.AwaitState(sweep_, "succeeded");
  LoseAndRestore(cluster);
  ExpectAsUndisturbed(OutcomeOf(cluster, sweep_));
}

}  // namespace
}  // namespace entrain::testing
