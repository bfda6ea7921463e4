// The simulation itself: the same seed gives the same history, the disk tears what it should, and the referee sees what it must.
#include "sim/simulation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "sim/disk.h"
#include "sim/network.h"
#include "sim/referee.h"
#include "sim/script.h"

namespace entrain::sim {
namespace {

using testing::HasSubstr;

TEST(SimulationTest, TheSameSeedGivesTheSameTrace) {
  for (const std::uint64_t seed : {3, 8, 21}) {
    const Options options{.seed = seed, .keep_trace = true};
    const Report first = Simulate(options);
    const Report second = Simulate(options);
    EXPECT_EQ(first.broken, "") << "seed " << seed;
    EXPECT_GT(first.trace.size(), 100U);
    EXPECT_EQ(first.trace, second.trace) << "seed " << seed;
    EXPECT_EQ(first.core_events, second.core_events);
    EXPECT_EQ(first.worker_events, second.worker_events);
  }
  EXPECT_NE(Simulate({.seed = 3, .keep_trace = true}).trace, Simulate({.seed = 4, .keep_trace = true}).trace);
}

TEST(SimulationTest, KeepingTheTraceChangesNothing) {
  const Report with = Simulate({.seed = 5, .keep_trace = true});
  const Report without = Simulate({.seed = 5, .keep_trace = false});
  EXPECT_EQ(with.core_events, without.core_events);
  EXPECT_EQ(with.virtual_ms, without.virtual_ms);
  EXPECT_TRUE(without.trace.empty());
}

TEST(SimulationTest, EverySeedIsAsLargeAsPromised) {
  for (std::uint64_t seed = 40; seed < 50; ++seed) {
    const Report report = Simulate({.seed = seed});
    EXPECT_EQ(report.broken, "");
    EXPECT_GE(report.core_events, 2'000);
    EXPECT_GE(report.runs, 20);
    EXPECT_GE(report.coordinator_crashes, 1);
    EXPECT_GE(report.partitions, 1);
  }
}

domain::Fact DrainingFact(bool draining) {
  domain::Fact fact;
  fact.body = domain::WorkerDraining{WorkerId("w1"), draining};
  return fact;
}

TEST(DiskTest, AFailedWriteIsThereAsAWholeOrNotAtAll) {
  Stage stage(1, false);
  stage.weather().fail_commit_per_mille = 1000;
  std::size_t told = 0;
  Disk disk(&stage, [&](const auto&, const std::vector<domain::Fact>& facts) { told += facts.size(); });
  std::set<std::size_t> kept;
  for (int i = 0; i < 60; ++i) {
    std::size_t before = 0;
    std::size_t after = 0;
    ASSERT_TRUE(disk.Replay([&](const domain::Fact&) { ++before; }).ok());
    EXPECT_FALSE(disk.Commit({}, {DrainingFact(true), DrainingFact(false), DrainingFact(true)}).ok());
    ASSERT_TRUE(disk.Replay([&](const domain::Fact&) { ++after; }).ok());
    kept.insert(after - before);
    EXPECT_EQ(told, after);
  }
  EXPECT_EQ(kept, (std::set<std::size_t>{0, 3}));
  EXPECT_GT(disk.torn_writes(), 0);
  EXPECT_EQ(disk.failed_writes(), 60);
}

TEST(NetworkTest, ACutLinkLosesWhatIsInFlightAndAllThatFollows) {
  Stage stage(1, false);
  Network network(&stage);
  int heard = 0;
  network.RouteCoordinator([&](const ConnectionPtr&, const ToCoordinator&) { ++heard; });
  auto connection = std::make_shared<Connection>();
  connection->worker = WorkerId("w1");
  network.Up(connection, domain::WorkerHeartbeat{connection->worker, false});
  while (stage.timeline().Step()) continue;
  EXPECT_EQ(heard, 1);
  network.Up(connection, domain::WorkerHeartbeat{connection->worker, false});
  network.Cut(connection->worker, true, false);
  while (stage.timeline().Step()) continue;
  network.Heal();
  network.Up(connection, domain::WorkerHeartbeat{connection->worker, false});
  while (stage.timeline().Step()) continue;
  EXPECT_EQ(heard, 1) << "a stream with a hole must stay silent";
}

TEST(RefereeTest, SeesTwoGangsOnOneSlotAndAnAttemptThatIsStartedTwice) {
  Stage stage(1, false);
  Referee slots(&stage, {});
  slots.GangBegan(WorkerId("w1"), {RunId("r1"), 1}, {0, 1});
  slots.GangEnded(WorkerId("w1"), {RunId("r1"), 1});
  slots.GangBegan(WorkerId("w1"), {RunId("r2"), 1}, {1});
  EXPECT_EQ(stage.broken(), "");
  slots.GangBegan(WorkerId("w1"), {RunId("r3"), 1}, {1});
  EXPECT_THAT(stage.broken(), HasSubstr("slot 1 of w1"));

  Stage again(1, false);
  Referee twice(&again, {});
  twice.GangBegan(WorkerId("w1"), {RunId("r1"), 1}, {0});
  twice.GangEnded(WorkerId("w1"), {RunId("r1"), 1});
  twice.GangBegan(WorkerId("w2"), {RunId("r1"), 1}, {0});
  EXPECT_THAT(again.broken(), HasSubstr("a second time"));
}

TEST(RefereeTest, SeesAnAnswerThatLeavesBeforeItIsDurable) {
  Stage stage(1, false);
  Referee referee(&stage, {});
  referee.Leaves(domain::Reply{1, absl::NotFoundError("no such run"), ""});
  EXPECT_EQ(stage.broken(), "");
  referee.Leaves(domain::Reply{2, absl::OkStatus(), "s1"});
  EXPECT_THAT(stage.broken(), HasSubstr("before what it tells was durable"));
}

TEST(RefereeTest, SeesARunThatIsSaidToBeJudgedDespiteAVerdict) {
  Stage stage(1, false);
  Referee referee(&stage, {});
  domain::VerdictReached reached;
  reached.run = RunId("r1");
  reached.verdict.attempt = 1;
  referee.LaneSaid(reached);
  referee.LaneSaid(domain::RunJudged{{RunId("r2"), 1}, 10});
  referee.LaneSaid(domain::RunJudged{{RunId("r1"), 2}, 10});
  EXPECT_EQ(stage.broken(), "") << "a successor that replaced the samples is healthy";
  referee.LaneSaid(domain::RunJudged{{RunId("r1"), 1}, 10});
  EXPECT_THAT(stage.broken(), HasSubstr("judged without a verdict"));
}

TEST(ScriptTest, AStepGivesTheSameSampleWhicheverAttemptRepeatsIt) {
  const domain::RunSpec spec = MakeSpec("x", 1, 1, 40);
  RunScript script = ScriptOf(7, spec);
  EXPECT_EQ(SampleOf(script, spec, 1, 5), SampleOf(script, spec, 2, 5));
  script.collapses_at_step = 5;
  script.collapses_of = RunScript::Of::kFirst;
  EXPECT_NE(SampleOf(script, spec, 1, 5).entropy_nats, SampleOf(script, spec, 2, 5).entropy_nats);
  const std::vector<float> healthy = SampleOf(script, spec, 2, 5).entropy_nats;
  script.collapses_of = RunScript::Of::kLater;
  EXPECT_EQ(SampleOf(script, spec, 1, 5).entropy_nats, healthy);
  EXPECT_NE(SampleOf(script, spec, 2, 5).entropy_nats, healthy);
}

TEST(CoverageTest, EveryUnreachablePairSaysWhy) {
  for (const std::string& pair : Coverage::Unreachable()) EXPECT_THAT(pair, HasSubstr(": ")) << pair;
  EXPECT_GT(Coverage::LegalPairs(), 100U);
  EXPECT_EQ(Coverage().reached(), 0U);
  Coverage coverage;
  coverage.Reach(core::State(), domain::RetryRun{1, RunId("none"), "ann"});
  EXPECT_EQ(coverage.reached(), 1U);
}

}  // namespace
}  // namespace entrain::sim
