// The promises of docs/ARCHITECTURE.md, tried on the real programs: kill -9 of every kind of process while a gang trains.
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>

#include "base/strings.h"
#include "tests/integration/cluster.h"

namespace entrain::testing {
namespace {

constexpr int kSteps = 2000;
constexpr char kCheckpoints[] = "  checkpoint_interval_steps: 100\n";

void ExpectEverySampleOnce(Cluster& cluster, const std::string& run_id, int steps) {
  const auto samples = cluster.Samples(run_id);
  ASSERT_EQ(samples.size(), static_cast<std::size_t>(steps));
  for (int i = 0; i < steps; ++i) EXPECT_EQ(samples[i].step(), i + 1);
}

class Recovery : public ::testing::Test {
 protected:
  void Begin(Cluster* cluster, bool shares_root = true) {
    cluster->StartCoordinator();
    cluster->StartWorker("w1", 2, shares_root);
    sweep_ = cluster->Submit(SmallSweep("recovery", "SM+LN+G", kSteps, 2, kCheckpoints));
    run_ = cluster->AwaitStep(sweep_, 60).id();
  }
  // The weights of the same run, never disturbed.
  static const std::string& UndisturbedWeights() {
    static const std::string weights = [] {
      Cluster cluster("undisturbed");
      cluster.StartCoordinator();
      cluster.StartWorker("w1", 2);
      const std::string sweep = cluster.Submit(SmallSweep("recovery", "SM+LN+G", kSteps, 2, kCheckpoints));
      return cluster.FinalWeights(cluster.AwaitState(sweep, "succeeded").id());
    }();
    return weights;
  }
  void ExpectEndsAsIfUndisturbed(Cluster& cluster, unsigned attempts) {
    const auto run = cluster.AwaitState(sweep_, "succeeded");
    EXPECT_EQ(run.attempt(), attempts);
    EXPECT_TRUE(run.fully_judged());
    ExpectEverySampleOnce(cluster, run.id(), kSteps);
    EXPECT_FALSE(UndisturbedWeights().empty());
    EXPECT_TRUE(cluster.FinalWeights(run.id()) == UndisturbedWeights()) << "final weights differ";
    EXPECT_TRUE(Eventually([&] { return cluster.GangProcesses().empty(); })) << "processes left behind";
  }
  void KillFirst(Cluster& cluster, const std::string& program) {
    const auto pids = cluster.GangProcesses(program);
    ASSERT_FALSE(pids.empty()) << "no " << program;
    kill(pids.front(), SIGKILL);
  }
  std::string sweep_;
  std::string run_;
};

TEST_F(Recovery, KilledCoordinatorLosesNothingAndStopsNothing) {
  Cluster cluster("kill-coordinator");
  Begin(&cluster);
  const auto trainers = cluster.GangProcesses("entrain-trainer");
  cluster.coordinator().KillNow();
  cluster.StartCoordinator();
  EXPECT_EQ(cluster.GangProcesses("entrain-trainer"), trainers);
  ExpectEndsAsIfUndisturbed(cluster, 1);
}

TEST_F(Recovery, KilledDaemonAdoptsItsGangAgain) {
  Cluster cluster("kill-daemon");
  Begin(&cluster);
  cluster.worker("w1").KillNow();
  EXPECT_FALSE(cluster.GangProcesses("entrain-trainer").empty());
  cluster.StartWorker("w1", 2);
  ExpectEndsAsIfUndisturbed(cluster, 1);
}

TEST_F(Recovery, KilledRankIsResumedFromTheLastCheckpoint) {
  Cluster cluster("kill-rank");
  Begin(&cluster);
  KillFirst(cluster, "entrain-trainer");
  ExpectEndsAsIfUndisturbed(cluster, 2);
}

TEST_F(Recovery, KilledMpirunIsResumed) {
  Cluster cluster("kill-mpirun");
  Begin(&cluster);
  KillFirst(cluster, "mpirun");
  ExpectEndsAsIfUndisturbed(cluster, 2);
}

TEST_F(Recovery, KilledSupervisorLeavesNoOrphan) {
  Cluster cluster("kill-supervisor");
  Begin(&cluster);
  KillFirst(cluster, "entrain-supervisor");
  ExpectEndsAsIfUndisturbed(cluster, 2);
}

TEST_F(Recovery, KilledCoordinatorAndDaemonTogether) {
  Cluster cluster("kill-both");
  Begin(&cluster);
  cluster.coordinator().KillNow();
  cluster.worker("w1").KillNow();
  cluster.StartCoordinator();
  cluster.StartWorker("w1", 2);
  ExpectEndsAsIfUndisturbed(cluster, 1);
}

TEST_F(Recovery, CheckpointsOfAMachineThatSharesNothingWaitForTheCoordinator) {
  Cluster cluster("recovery-waiting-checkpoint");
  Begin(&cluster, /*shares_root=*/false);
  cluster.coordinator().KillNow();
  ASSERT_TRUE(Eventually([&] { return cluster.LogTail("w1.log").find("checkpoint waits for the coordinator") != std::string::npos; }));
  cluster.StartCoordinator();
  ExpectEndsAsIfUndisturbed(cluster, 1);
}

TEST_F(Recovery, ALostMachinesRunGoesOnOnAnotherThatSharesNothing) {
  Cluster cluster("recovery-nothing-shared");
  Begin(&cluster, /*shares_root=*/false);
  ASSERT_TRUE(Eventually([&] { return cluster.GetRun(run_).checkpoints_size() > 0; }));
  cluster.worker("w1").KillNow();
  for (const pid_t pid : cluster.GangProcesses()) kill(pid, SIGKILL);
  cluster.StartWorker("w2", 2, /*shares_root=*/false);
  ExpectEndsAsIfUndisturbed(cluster, 2);
  EXPECT_TRUE(std::filesystem::exists(StrCat(cluster.root(), "/w2/fetched/checkpoints/", run_, "/1")));
}

}  // namespace
}  // namespace entrain::testing
