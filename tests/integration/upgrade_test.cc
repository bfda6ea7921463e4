// A rolling upgrade under load, as docs/operations.md tells it: the coordinator first, then worker after worker, each once drained and once
// killed, while a sweep of several runs trains. Nothing is lost, nothing begins anew, and the results are those of a sweep that nobody disturbed.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "base/strings.h"
#include "tests/integration/cluster.h"

namespace entrain::testing {
namespace {

constexpr int kSteps = 600;
constexpr int kEvery = 20;     // steps from one checkpoint to the next
constexpr int kStepsLeft = 100;  // at least, of a run whose worker is upgraded: more than it trains meanwhile
constexpr std::size_t kRuns = 4;
constexpr int kLimitMs = 120'000;

// Slow steps, so that the upgrades fall into the runs and not between them.
std::string Yaml() {
  return StrCat("name: upgrade\ndata:\n  path: python-stdlib\n  tokenizer: bytes\nmodel:\n  n_layer: 2\n  n_head: 2\n  n_embd: 32\nvariants:\n  - SM+LN+G\n",
                "axes:\n  train.seed: [1, 2, 3, 4]\ntrain:\n  steps: ", kSteps, "\n  batch_size: 16\n  context: 64\n  lr: 0.001\n  eval_interval_steps: 200\n",
                "  checkpoint_interval_steps: ", kEvery, "\n");
}

// What people keep of a run, by its label.
struct Result {
  double loss = 0.0;
  double eval_loss = 0.0;
  std::vector<double> losses;
  std::string weights;
};
using Results = std::map<std::string, Result>;

bool Finished(Cluster& cluster, const std::string& sweep) {
  return Eventually([&] { return cluster.GetSweep(sweep).summary().finished(); }, kLimitMs);
}

Results ResultsOf(Cluster& cluster, const std::string& sweep) {
  Results results;
  const v1::Sweep now = cluster.GetSweep(sweep);
  for (const v1::RunSummary& run : now.runs()) {
    EXPECT_EQ(run.state(), "succeeded") << run.ShortDebugString();
    EXPECT_TRUE(run.fully_judged());
    EXPECT_EQ(run.generation(), 1);
    EXPECT_EQ(run.failures(), 0);
    Result& result = results[run.label()];
    result = {run.loss(), run.eval_loss(), {}, cluster.FinalWeights(run.id())};
    std::int64_t step = 0;
    for (const v1::Sample& sample : cluster.Samples(run.id())) {
      EXPECT_EQ(sample.step(), ++step) << run.label();
      result.losses.push_back(sample.loss());
    }
    EXPECT_EQ(step, kSteps) << run.label();
  }
  return results;
}

class Upgrade : public ::testing::Test {
 protected:
  static void Begin(Cluster* cluster) {
    cluster->StartCoordinator();
    for (const char* worker : {"w1", "w2"}) cluster->StartWorker(worker, 1);
  }
  static Results Undisturbed() {
    Cluster cluster("upgrade-undisturbed");
    Begin(&cluster);
    const std::string sweep = cluster.Submit(Yaml());
    EXPECT_TRUE(Finished(cluster, sweep));
    return ResultsOf(cluster, sweep);
  }
  // The worker trains a run, has got further since it began or took it over, and is not about to end it.
  static void AwaitLoad(Cluster& cluster, const std::string& sweep, const std::string& worker) {
    std::map<std::string, std::int64_t> first_seen;
    EXPECT_TRUE(Eventually([&] {
      const v1::ListWorkersResponse workers = cluster.Workers();
      const v1::Sweep now = cluster.GetSweep(sweep);
      for (const v1::RunSummary& run : now.runs()) {
        if (run.state() != "running") continue;
        const v1::RunDetail detail = cluster.GetRun(run.id());
        const std::string& id = detail.attempts(detail.attempts_size() - 1).workers(0);
        const bool here = std::any_of(workers.workers().begin(), workers.workers().end(), [&](const v1::WorkerSummary& w) { return w.id() == id && w.name() == worker; });
        const std::int64_t since = first_seen.try_emplace(StrCat(run.id(), " ", detail.attempts_size()), run.step()).first->second;
        if (here && run.step() > since + kEvery && run.step() < kSteps - kStepsLeft) return true;
      }
      return false;
    }, kLimitMs)) << worker << ": " << cluster.GetSweep(sweep).ShortDebugString() << cluster.LogTail("coordinator.log");
  }
  // Each attempt goes on from the last checkpoint of the one before it: where that was drained, it wrote one at its last step.
  static void ExpectNothingTrainedTwice(Cluster& cluster, const std::string& sweep) {
    int later_attempts = 0;
    const v1::Sweep now = cluster.GetSweep(sweep);
    for (const v1::RunSummary& run : now.runs()) {
      const v1::RunDetail detail = cluster.GetRun(run.id());
      for (int i = 1; i < detail.attempts_size(); ++i, ++later_attempts) {
        EXPECT_EQ(detail.attempts(i - 1).cause(), "stopped") << detail.attempts(i - 1).ShortDebugString();
        EXPECT_EQ(detail.attempts(i).resume_step(), detail.attempts(i - 1).last_step());
      }
    }
    // One for each worker that was drained; those whose daemons were killed trained on.
    EXPECT_EQ(later_attempts, 2);
  }
};

TEST_F(Upgrade, OneAfterTheOtherLosesNothing) {
  Cluster cluster("upgrade");
  Begin(&cluster);
  const std::string sweep = cluster.Submit(Yaml());
  AwaitLoad(cluster, sweep, "w1");
  cluster.coordinator().Signal(SIGTERM);
  ASSERT_EQ(cluster.coordinator().Wait(kLimitMs), 0) << cluster.LogTail("coordinator.log");
  cluster.StartCoordinator();
  for (const char* worker : {"w1", "w2"}) {
    AwaitLoad(cluster, sweep, worker);
    cluster.worker(worker).Signal(SIGTERM);
    ASSERT_EQ(cluster.worker(worker).Wait(kLimitMs), 0) << cluster.LogTail(StrCat(worker, ".log"));
    cluster.StartWorker(worker, 1);
    AwaitLoad(cluster, sweep, worker);
    cluster.worker(worker).KillNow();
    cluster.StartWorker(worker, 1);
  }
  ASSERT_TRUE(Finished(cluster, sweep)) << cluster.GetSweep(sweep).ShortDebugString();
  ExpectNothingTrainedTwice(cluster, sweep);
  const Results results = ResultsOf(cluster, sweep);
  const Results undisturbed = Undisturbed();
  ASSERT_EQ(results.size(), kRuns);
  for (const auto& [label, result] : results) {
    const Result& quiet = undisturbed.at(label);
    EXPECT_EQ(result.loss, quiet.loss) << label;
    EXPECT_EQ(result.eval_loss, quiet.eval_loss) << label;
    EXPECT_EQ(result.losses, quiet.losses) << label;
    EXPECT_FALSE(quiet.weights.empty());
    EXPECT_TRUE(result.weights == quiet.weights) << "final weights differ: " << label;
  }
  EXPECT_TRUE(Eventually([&] { return cluster.GangProcesses().empty(); })) << "processes left behind";
}

}  // namespace
}  // namespace entrain::testing
