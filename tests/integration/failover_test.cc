// Two real coordinators on one real PostgreSQL: the leader is killed, frozen, or ended while a gang trains, and the other takes over.
#include <grpc/support/time.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "base/strings.h"
#include "tests/integration/cluster.h"
#include "tests/postgres/postgres_server.h"

namespace entrain::testing {
namespace {

constexpr int kSteps = 2000;
constexpr int kLeaderLeaseMs = 2'000;
constexpr char kCheckpoints[] = "  checkpoint_interval_steps: 100\n";

class Failover : public ::testing::Test {
 protected:
  void SetUp() override {
    server_ = PostgresServer::Start(StrCat("/tmp/entrain-failover-pg-", getpid()));
    if (server_ == nullptr) GTEST_SKIP() << kNoPostgres;
    url_ = server_->Url("failover");
  }
  void Begin(Cluster* cluster) {
    cluster->StartPair(url_, kLeaderLeaseMs);
    cluster->StartWorker("w1", 2);
    sweep_ = cluster->Submit(Yaml());
    run_ = cluster->AwaitStep(sweep_, 60).id();
  }
  static std::string Yaml() { return SmallSweep("failover", "SM+LN+G", kSteps, 2, kCheckpoints); }
  // From now until the member serves.
  long long TakeOverMs(const Cluster& cluster, const std::string& name) {
    const long long from_ms = NowMs();
    EXPECT_TRUE(Eventually([&] { return cluster.Leads(name); })) << cluster.LogTail(name + ".log");
    return NowMs() - from_ms;
  }
  void ExpectOneAttemptAndEverySampleOnce(Cluster& cluster) {
    const auto run = cluster.AwaitState(sweep_, "succeeded");
    EXPECT_EQ(run.attempt(), 1U);
    EXPECT_TRUE(run.fully_judged());
    const auto samples = cluster.Samples(run.id());
    ASSERT_EQ(samples.size(), static_cast<std::size_t>(kSteps));
    for (int i = 0; i < kSteps; ++i) EXPECT_EQ(samples[i].step(), i + 1);
    EXPECT_EQ(server_->Sql(url_, StrCat("SELECT count(*) FROM facts WHERE kind = 'run_finished'")), "1");
    EXPECT_TRUE(Eventually([&] { return cluster.GangProcesses().empty(); })) << "processes left behind";
  }

  std::unique_ptr<PostgresServer> server_;
  std::string url_, sweep_, run_;
};

TEST_F(Failover, AKilledLeaderIsSucceededAndNothingIsLostOrDoubled) {
  Cluster cluster("failover-kill");
  Begin(&cluster);
  const auto trainers = cluster.GangProcesses("entrain-trainer");
  cluster.member("c1").KillNow();
  const long long first_ms = TakeOverMs(cluster, "c2");
  RecordProperty("take_over_ms", static_cast<int>(first_ms));
  EXPECT_LT(first_ms, kLeaderLeaseMs + 8'000);
  // Unless the run is over already.
  const auto still = cluster.GangProcesses("entrain-trainer");
  EXPECT_TRUE(still.empty() || still == trainers);
  EXPECT_EQ(cluster.Submit(Yaml()), sweep_) << "the same request to the new leader is another sweep";
  Process list = Process::Start({StrCat(ENTRAIN_BIN_DIR, "/entrain"), "list", "--coordinator", cluster.address()}, cluster.root() + "/list.log");
  EXPECT_EQ(list.Wait(30'000), 0) << cluster.LogTail("list.log");
  EXPECT_NE(cluster.LogTail("list.log").find("failover"), std::string::npos);
  // And back, once the gang speaks to the new leader.
  const long long reached = cluster.AwaitRun(sweep_, [](const v1::RunSummary& run) { return run.step() > 0; }).step();
  cluster.AwaitRun(sweep_, [reached](const v1::RunSummary& run) { return run.step() > reached || run.state() != "running"; });
  cluster.StartMember("c1");
  ASSERT_TRUE(Eventually([&] { return cluster.LogTail("c1.log").rfind("standing by") != std::string::npos; }));
  cluster.member("c2").KillNow();
  const long long second_ms = TakeOverMs(cluster, "c1");
  std::printf("take-over after %lld and %lld ms with a lease of %d ms\n", first_ms, second_ms, kLeaderLeaseMs);
  ExpectOneAttemptAndEverySampleOnce(cluster);
}

TEST_F(Failover, AFrozenLeaderThatWakesUpWritesNothingAndEnds) {
  Cluster cluster("failover-freeze");
  Begin(&cluster);
  // A client of the old leader, connected before.
  auto channel = grpc::CreateChannel(cluster.member_address("c1"), grpc::InsecureChannelCredentials());
  ASSERT_TRUE(channel->WaitForConnected(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_seconds(10, GPR_TIMESPAN))));
  cluster.member("c1").Signal(SIGSTOP);
  const long long frozen_ms = TakeOverMs(cluster, "c2");
  std::printf("take-over from a frozen leader after %lld ms with a lease of %d ms\n", frozen_ms, kLeaderLeaseMs);
  cluster.TalkTo(cluster.member_address("c2"));
  // Its request lies in the frozen leader's socket when that wakes up.
  grpc::Status refused;
  std::thread client([&] {
    v1::StopRequest request;
    request.set_id(run_);
    request.set_by("mallory");
    v1::StopResponse response;
    grpc::ClientContext context;
    context.set_deadline(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_seconds(60, GPR_TIMESPAN)));
    refused = v1::SweepService::NewStub(channel)->Stop(&context, request, &response);
  });
  const std::string epoch = server_->Sql(url_, "SELECT epoch FROM leader");
  cluster.member("c1").Signal(SIGCONT);
  EXPECT_EQ(cluster.member("c1").Wait(20'000), 1) << cluster.LogTail("c1.log");
  EXPECT_NE(cluster.LogTail("c1.log").find("lead"), std::string::npos) << cluster.LogTail("c1.log");
  client.join();
  EXPECT_FALSE(refused.ok()) << "a deposed leader said yes";
  EXPECT_EQ(server_->Sql(url_, "SELECT epoch FROM leader"), epoch) << "the deposed leader took the lease back";
  EXPECT_EQ(server_->Sql(url_, "SELECT count(*) FROM facts WHERE kind = 'stop_decided'"), "0");
  ExpectOneAttemptAndEverySampleOnce(cluster);
  // A clean end leaves the lease to the other at once.
  cluster.StartMember("c1");
  ASSERT_TRUE(Eventually([&] { return cluster.LogTail("c1.log").rfind("standing by") != std::string::npos; })) << cluster.LogTail("c1.log");
  cluster.member("c2").Signal(SIGTERM);
  EXPECT_EQ(cluster.member("c2").Wait(20'000), 0) << cluster.LogTail("c2.log");
  std::printf("take-over after a clean end within %lld ms\n", TakeOverMs(cluster, "c1"));
}

TEST_F(Failover, ACoordinatorWithAnotherArtifactRootIsRefused) {
  Cluster cluster("failover-root");
  cluster.StartPair(url_, kLeaderLeaseMs);
  Process stranger = Process::Start({StrCat(ENTRAIN_BIN_DIR, "/entrain-coordinator"), "--store", url_, "--artifacts", cluster.root() + "/elsewhere",
                                     "--listen", "127.0.0.1:0"},
                                    cluster.root() + "/stranger.log");
  EXPECT_EQ(stranger.Wait(20'000), 1);
  EXPECT_NE(cluster.LogTail("stranger.log").find("must share one"), std::string::npos) << cluster.LogTail("stranger.log");
}

}  // namespace
}  // namespace entrain::testing
