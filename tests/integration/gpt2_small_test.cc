// GPT-2 small goes through the whole service: three steps, a kill in between, and a resume.
#include <gtest/gtest.h>
#include <signal.h>

#include "tests/integration/cluster.h"

namespace entrain::testing {
namespace {

constexpr char kSweep[] =
    "name: gpt2-small\ndata:\n  path: python-stdlib\n  tokenizer: bytes\n"
    "model:\n  n_layer: 12\n  n_head: 12\n  n_embd: 768\n  vocab_size: 50257\n"
    "variants:\n  - preset: SM+LN+G\n"
    "train:\n  steps: 3\n  batch_size: 2\n  context: 128\n  lr: 0.001\n  eval_batches: 1\n  checkpoint_interval_steps: 1\n"
    "resources:\n  ranks_per_machine: 2\n";

TEST(Gpt2Small, TrainsThreeStepsIsKilledAndResumes) {
  Cluster cluster("gpt2-small", 15'000);
  cluster.StartCoordinator();
  cluster.StartWorker("w1", 2);
  const std::string sweep = cluster.Submit(kSweep);
  cluster.AwaitRun(
      sweep,
      [&](const v1::RunSummary& run) {
        return !run.id().empty() && cluster.GetRun(run.id()).checkpoints_size() > 0;
      },
      240'000);
  for (pid_t pid : cluster.GangProcesses("entrain-trainer")) kill(pid, SIGKILL);
  const auto run = cluster.AwaitState(sweep, "succeeded", 300'000);
  EXPECT_EQ(run.parameters(), 124'439'808 - (1024 - 128) * 768);
  EXPECT_GE(run.attempt(), 1u);
  const auto samples = cluster.Samples(run.id());
  ASSERT_EQ(samples.size(), 3u);
  EXPECT_EQ(samples.back().entropy_nats_size(), 144);
}

}  // namespace
}  // namespace entrain::testing
