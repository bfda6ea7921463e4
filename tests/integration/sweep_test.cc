// One sweep from submit to final states through the real programs.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cmath>

#include "tests/integration/cluster.h"

namespace entrain::testing {
namespace {

class SweepThroughRealPrograms : public ::testing::Test {
 protected:
  void Start(Cluster* cluster, int slots = 2) {
    cluster->StartCoordinator();
    cluster->StartWorker("w1", slots);
  }
};

TEST_F(SweepThroughRealPrograms, TrainsAndMeasuresEveryHeadAtEveryStep) {
  Cluster cluster("train");
  Start(&cluster);
  const std::string sweep = cluster.Submit(SmallSweep("train", "SM+LN+R", 100, 2));
  const auto run = cluster.AwaitState(sweep, "succeeded");
  const auto samples = cluster.Samples(run.id());
  ASSERT_EQ(samples.size(), 100u);
  for (const auto& sample : samples) ASSERT_EQ(sample.entropy_nats_size(), 4);
  EXPECT_LT(samples.back().loss(), samples.front().loss() - 0.5);
  // At the start every head is close to uniform: the bound ln(T!)/T = 2.55 at T = 32.
  EXPECT_NEAR(samples.front().entropy_nats(0), std::lgamma(33.0) / 32, 0.15);
  EXPECT_GT(run.eval_loss(), 0.0);
}

TEST_F(SweepThroughRealPrograms, StopsACollapsingRunWithItsReason) {
  Cluster cluster("collapse");
  Start(&cluster);
  // Softmax-only with the initialisation scaled to the width collapses within 200 steps at this rate.
  const std::string yaml =
      "name: collapse\ndata:\n  path: python-stdlib\n  tokenizer: bytes\n"
      "model:\n  n_layer: 6\n  n_head: 4\n  n_embd: 64\n  init_std: 0.07\n"
      "variants:\n  - preset: SM\n"
      "train:\n  steps: 400\n  batch_size: 8\n  context: 64\n  lr: 0.003\n"
      "resources:\n  ranks_per_machine: 2\n";
  const std::string sweep = cluster.Submit(yaml);
  const auto run = cluster.AwaitState(sweep, "halted");
  EXPECT_EQ(run.halt_reason(), "collapse");
  const auto detail = cluster.GetRun(run.id());
  EXPECT_EQ(detail.verdict().reason(), "collapse");
  EXPECT_LE(detail.verdict().step(), 200);
  EXPECT_EQ(run.result_step(), detail.verdict().step());
  EXPECT_GE(detail.verdict().heads_size(), 2);
  EXPECT_GE(detail.verdict().steps_size(), 2);
  EXPECT_FALSE(detail.verdict().explanation().empty());
}

TEST_F(SweepThroughRealPrograms, ARunThatFitsNowhereWaitsWithReasonNever) {
  Cluster cluster("never");
  Start(&cluster, 1);
  const std::string sweep = cluster.Submit(SmallSweep("never", "SM+LN+G", 10, 2));
  const auto run = cluster.AwaitRun(sweep, [](const v1::RunSummary& r) { return r.never_placeable(); });
  EXPECT_EQ(run.state(), "queued");
  EXPECT_NE(run.reason().find("2"), std::string::npos) << run.reason();
}

TEST_F(SweepThroughRealPrograms, DrainCheckpointsAndTheNextWorkerGoesOn) {
  Cluster cluster("drain");
  Start(&cluster);
  const std::string sweep = cluster.Submit(SmallSweep("drain", "SM+LN+G", 400, 2));
  cluster.AwaitStep(sweep, 40);
  cluster.worker("w1").Signal(SIGTERM);
  EXPECT_EQ(cluster.worker("w1").Wait(60'000), 0);
  const auto waiting = cluster.AwaitState(sweep, "queued");
  EXPECT_EQ(waiting.failures(), 0);
  cluster.StartWorker("w2", 2);
  const auto run = cluster.AwaitState(sweep, "succeeded");
  EXPECT_EQ(run.attempt(), 2u);
  const auto detail = cluster.GetRun(run.id());
  ASSERT_EQ(detail.attempts_size(), 2);
  EXPECT_GE(detail.attempts(1).resume_step(), 40);
  EXPECT_EQ(cluster.Samples(run.id()).size(), 400u);
}

TEST_F(SweepThroughRealPrograms, StopAndRetryMakeANewGeneration) {
  Cluster cluster("stop");
  Start(&cluster);
  const std::string sweep = cluster.Submit(SmallSweep("stop", "SM+LN+G", 2000, 2));
  const auto running = cluster.AwaitStep(sweep, 20);
  v1::StopRequest stop;
  stop.set_id(running.id());
  stop.set_by("tester");
  v1::StopResponse stopped;
  grpc::ClientContext stop_context;
  ASSERT_TRUE(cluster.stub().Stop(&stop_context, stop, &stopped).ok());
  cluster.AwaitRun(sweep, [&](const v1::RunSummary& run) { return run.id() == running.id() && run.state() == "cancelled"; });
  v1::RetryRequest retry;
  retry.set_id(running.id());
  retry.set_by("tester");
  v1::RetryResponse retried;
  grpc::ClientContext retry_context;
  ASSERT_TRUE(cluster.stub().Retry(&retry_context, retry, &retried).ok());
  ASSERT_EQ(retried.run_ids_size(), 1);
  EXPECT_TRUE(Eventually([&] { return cluster.GetRun(retried.run_ids(0)).summary().step() > 5; }));
  EXPECT_EQ(cluster.GetRun(retried.run_ids(0)).summary().generation(), 2);
  EXPECT_EQ(cluster.GetRun(running.id()).summary().state(), "cancelled");
}

TEST_F(SweepThroughRealPrograms, ALostWorkersRunResumesElsewhereAfterItsLease) {
  Cluster cluster("lost");
  Start(&cluster);
  const std::string sweep =
      cluster.Submit(SmallSweep("lost", "SM+LN+G", 400, 2, "  checkpoint_interval_steps: 25\n"));
  const auto running = cluster.AwaitStep(sweep, 60);
  // Frozen, not dead: the gang trains on behind a daemon that says nothing.
  cluster.worker("w1").Signal(SIGSTOP);
  cluster.StartWorker("w2", 2);
  cluster.AwaitRun(sweep, [](const v1::RunSummary& r) { return r.attempt() == 2 && r.state() == "running"; });
  // The first one wakes up and learns that it was replaced.
  cluster.worker("w1").Signal(SIGCONT);
  const auto run = cluster.AwaitState(sweep, "succeeded");
  EXPECT_EQ(run.attempt(), 2u);
  EXPECT_EQ(run.failures(), 0);
  EXPECT_EQ(cluster.Samples(run.id()).size(), 400u);
  EXPECT_TRUE(Eventually([&] { return cluster.GangProcesses().empty(); }));
}

}  // namespace
}  // namespace entrain::testing
