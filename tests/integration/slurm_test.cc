// An elastic pool on a real Slurm: the coordinator asks for jobs, workers in them register, and what nobody needs is given back.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/strings.h"
#include "tests/integration/cluster.h"
#include "tests/integration/slurm_cluster.h"
#include "tests/transport/authority.h"

namespace entrain::testing {
namespace {

constexpr char kCheckpoints[] = "  checkpoint_interval_steps: 50\n";

class SlurmPool : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (!SlurmCluster::Missing().empty()) return;
    slurm_ = std::make_unique<SlurmCluster>(
        std::filesystem::path(StrCat(::testing::TempDir(), "/entrain-slurm-", ::getpid())).lexically_normal());
  }
  static void TearDownTestSuite() { slurm_.reset(); }
  void SetUp() override {
    if (slurm_ == nullptr) GTEST_SKIP() << SlurmCluster::Missing();
  }
  void TearDown() override {
    if (slurm_ != nullptr && HasFailure()) std::cerr << slurm_->Logs();
  }

  // A coordinator that may have two machines of one slot. `extra` are lines of the section slurm.
  void Begin(Cluster* cluster, const std::string& top = "", const std::string& extra = "", std::vector<std::string> flags = {}) {
    // Its port is in the pool file, and so known only after a first start.
    cluster->GiveCoordinator(flags);
    cluster->StartCoordinator();
    cluster->coordinator().KillNow();
    const std::string file = cluster->root() + "/pool.yaml";
    const std::string text =
        StrCat("pool: p\nprovider: slurm\ncluster: c", ::getpid(), "\nkind: cpu\nslots: 1\nmax: 2\nidle_seconds: 1\npoll_seconds: 1\n", top, "slurm:\n  worker: ",
               ENTRAIN_BIN_DIR, "/entrain-worker\n  coordinator: [\"", cluster->address(), "\"]\n  artifacts: ", cluster->root(),
               "/artifacts\n  state_dir: ", cluster->root(), "\n  log_dir: ", slurm_->job_logs(), "\n  conf: ", slurm_->conf(),
               "\n  drain_seconds: 30\n", extra);
    ASSERT_TRUE(WriteFileAtomically(file, text).ok());
    flags.insert(flags.end(), {"--pool", file});
    cluster->GiveCoordinator(flags);
    cluster->StartCoordinator();
  }
  // Three seeds of a small model.
  static std::string Seeds(int steps) {
    return SmallSweep("seeds", "SM+LN+G", steps, 1, kCheckpoints) + "axes:\n  train.seed: [1, 2, 3]\n";
  }
  static std::map<std::string, v1::RunSummary> AwaitAll(Cluster* cluster, const std::string& sweep) {
    std::map<std::string, v1::RunSummary> runs;
    EXPECT_TRUE(Eventually(
        [&] {
          const v1::Sweep now = cluster->GetSweep(sweep);
          for (const v1::RunSummary& run : now.runs()) runs[run.label()] = run;
          return std::all_of(runs.begin(), runs.end(), [](const auto& run) { return run.second.state() == "succeeded"; });
        },
        90'000))
        << cluster->LogTail("coordinator.log");
    return runs;
  }
  static bool AwaitNoJobs() {
    return Eventually([] { return slurm_->Jobs().empty(); });
  }
  static std::string OnlyJob() {
    const auto jobs = slurm_->Jobs();
    EXPECT_EQ(jobs.size(), 1u) << slurm_->Logs();
    return jobs.empty() ? "" : jobs.begin()->first;
  }
  // The reason that the run gives satisfies the condition in the end.
  static std::string AwaitReason(Cluster* cluster, const std::string& sweep, const std::string& part) {
    const std::string run = cluster->GetSweep(sweep).runs(0).id();
    std::string reason;
    EXPECT_TRUE(Eventually([&] {
      reason = cluster->GetRun(run).summary().reason();
      return reason.find(part) != std::string::npos;
    })) << reason << "\n" << cluster->LogTail("coordinator.log");
    return reason;
  }

  static std::unique_ptr<SlurmCluster> slurm_;
};
std::unique_ptr<SlurmCluster> SlurmPool::slurm_;

TEST_F(SlurmPool, TrainsASweepOnJobsAndGivesThemBack) {
  Cluster cluster("slurm-sweep");
  Begin(&cluster);
  const std::string sweep = cluster.Submit(Seeds(150));
  ASSERT_TRUE(Eventually([] { return slurm_->Jobs().size() == 2; })) << cluster.LogTail("coordinator.log");
  const auto with_slurm = AwaitAll(&cluster, sweep);
  EXPECT_EQ(with_slurm.size(), 3u);
  EXPECT_TRUE(AwaitNoJobs()) << "idle machines are given back";
  EXPECT_TRUE(Eventually([&] { return cluster.Workers().workers().empty(); })) << "and their workers leave the list";
  const v1::ListWorkersResponse pools = cluster.Workers();
  ASSERT_EQ(pools.pools_size(), 1);
  EXPECT_EQ(pools.pools(0).engine(), "slurm");
  EXPECT_EQ(pools.pools(0).problem(), "");
  // What a worker that ended well had on the node is gone.
  for (const auto& entry : std::filesystem::directory_iterator(cluster.root())) {
    EXPECT_FALSE(entry.path().filename().string().starts_with(StrCat("c", ::getpid(), "-p-"))) << entry.path();
  }

  Cluster fixed("slurm-none");
  fixed.StartCoordinator();
  fixed.StartWorker("w1", 2);
  const auto without = AwaitAll(&fixed, fixed.Submit(Seeds(150)));
  for (const auto& [label, run] : without) {
    ASSERT_TRUE(with_slurm.contains(label));
    EXPECT_EQ(with_slurm.at(label).loss(), run.loss()) << label;
    EXPECT_EQ(with_slurm.at(label).eval_loss(), run.eval_loss()) << label;
    EXPECT_EQ(with_slurm.at(label).attempt(), 1u) << label;
  }
}

TEST_F(SlurmPool, ARunGoesOnInAnotherJobWhenItsOwnIsCancelledOrDrained) {
  Cluster cluster("slurm-cancel");
  Begin(&cluster);
  const std::string sweep = cluster.Submit(SmallSweep("cancel", "SM+LN+G", 600, 1, kCheckpoints));
  cluster.AwaitStep(sweep, 120);
  const std::string first = OnlyJob();
  slurm_->Run({"scancel", first});
  cluster.AwaitRun(sweep, [](const v1::RunSummary& run) { return run.attempt() == 2 && run.state() == "running"; });
  const std::string second = OnlyJob();
  EXPECT_NE(second, first);
  // What Slurm does before a time limit: the worker drains, its run stops at a checkpoint of where it is.
  const long long at = cluster.AwaitRun(sweep, [](const v1::RunSummary& run) { return run.attempt() == 2 && run.step() >= 200; }).step();
  slurm_->Run({"scancel", "--batch", "--signal=TERM", second});
  const v1::RunSummary run = cluster.AwaitState(sweep, "succeeded");
  EXPECT_EQ(run.attempt(), 3u);
  EXPECT_EQ(run.failures(), 0);
  const v1::RunDetail detail = cluster.GetRun(run.id());
  ASSERT_EQ(detail.attempts_size(), 3);
  EXPECT_GE(detail.attempts(1).resume_step(), 100);
  EXPECT_GE(detail.attempts(2).resume_step(), at) << "nothing was trained twice";
  EXPECT_EQ(cluster.Samples(run.id()).size(), 600u);
  EXPECT_TRUE(AwaitNoJobs());
  EXPECT_TRUE(Eventually([&] { return cluster.Workers().workers().empty(); })) << "a machine that is gone is no lost worker for ever";
}

TEST_F(SlurmPool, ACoordinatorThatStartsAgainNeitherDoublesNorLosesJobs) {
  Cluster cluster("slurm-restart");
  Begin(&cluster);
  const std::string sweep = cluster.Submit(Seeds(1000));
  cluster.AwaitStep(sweep, 30);
  const auto before = slurm_->Jobs();
  EXPECT_EQ(before.size(), 2u);
  cluster.coordinator().KillNow();
  cluster.StartCoordinator();
  // It has looked at the engine and at its workers once they are back.
  ASSERT_TRUE(Eventually([&] {
    const v1::ListWorkersResponse now = cluster.Workers();
    const bool back = std::count_if(now.workers().begin(), now.workers().end(), [](const auto& worker) { return worker.state() == "live"; }) == 2;
    return back && now.pools(0).up() == 2;
  }));
  EXPECT_EQ(slurm_->Jobs(), before);
  for (const auto& [label, run] : AwaitAll(&cluster, sweep)) EXPECT_EQ(run.attempt(), 1u) << label;
  EXPECT_TRUE(AwaitNoJobs());
  for (const auto& [job, state] : before) EXPECT_TRUE(std::filesystem::exists(StrCat(slurm_->job_logs(), "/c", ::getpid(), "-p-", job, ".log")));
}

TEST_F(SlurmPool, AGangGetsAJobOfItsOwn) {
  Cluster cluster("slurm-gang");
  const transport::Authority authority(cluster.root() + "/pki");
  const transport::TlsFiles coordinator = authority.Issue("coordinator");
  // One certificate for the pool's workers, which also names the host at which they reach each other.
  const transport::TlsFiles worker =
      authority.Issue("pool", "entrain:workers", StrCat(",DNS:*.c", ::getpid(), "-p.pool,DNS:", slurm_->host(), ",DNS:", slurm_->Trimmed({"hostname", "-f"})));
  const transport::TlsFiles person = authority.Issue("person");
  cluster.SpeakWith(grpc::SslCredentials(
      {ReadFile(person.ca).value(), ReadFile(person.key).value(), ReadFile(person.certificate).value()}));
  Begin(&cluster, "gang: true\npeers: true\n",
        StrCat("  tls_ca: ", worker.ca, "\n  tls_cert: ", worker.certificate, "\n  tls_key: ", worker.key, "\n"),
        {"--tls-ca", coordinator.ca, "--tls-cert", coordinator.certificate, "--tls-key", coordinator.key});
  const std::string sweep = cluster.Submit(SmallSweep("gang", "SM+LN+G", 100, 1, kCheckpoints) + "  machines: 2\n");
  const v1::RunSummary run = cluster.AwaitState(sweep, "succeeded");
  EXPECT_EQ(run.attempt(), 1u);
  const v1::RunDetail detail = cluster.GetRun(run.id());
  ASSERT_EQ(detail.attempts_size(), 1);
  EXPECT_EQ(detail.attempts(0).workers_size(), 2) << "a worker on each node";
  EXPECT_TRUE(AwaitNoJobs());
  EXPECT_TRUE(Eventually([&] { return cluster.Workers().workers().empty(); }));
}

TEST_F(SlurmPool, WhatSlurmRefusesIsExplained) {
  Cluster cluster("slurm-refused");
  Begin(&cluster, "", "  partition: nowhere\n");
  const std::string sweep = cluster.Submit(SmallSweep("refused", "SM+LN+G", 10, 1));
  const std::string reason = AwaitReason(&cluster, sweep, "nvalid partition");
  EXPECT_NE(reason.find("the pool p may still add 2 machines of 1 slot"), std::string::npos) << reason;
  EXPECT_FALSE(cluster.GetSweep(sweep).runs(0).never_placeable());
  EXPECT_TRUE(slurm_->Jobs().empty());
}

TEST_F(SlurmPool, WhatAJobWaitsForIsExplained) {
  Cluster cluster("slurm-pending");
  // The partition's limit is a minute.
  Begin(&cluster, "", "  partition: short\n  time_limit: \"30\"\n");
  const std::string sweep = cluster.Submit(SmallSweep("pending", "SM+LN+G", 10, 1));
  AwaitReason(&cluster, sweep, "1 is pending (PartitionTimeLimit)");
  const std::string job = OnlyJob();
  EXPECT_EQ(slurm_->Jobs()[job], "PENDING");
  // The run is stopped: nobody needs the job any more, and it is taken back.
  v1::StopRequest stop;
  stop.set_id(sweep);
  v1::StopResponse stopped;
  grpc::ClientContext context;
  ASSERT_TRUE(cluster.stub().Stop(&context, stop, &stopped).ok());
  EXPECT_TRUE(AwaitNoJobs());
}

}  // namespace
}  // namespace entrain::testing
