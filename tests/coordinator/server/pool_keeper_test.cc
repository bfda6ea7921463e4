#include "coordinator/server/pool_keeper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "base/strings.h"
#include "coordinator/core/explain.h"
#include "tests/coordinator/core/world.h"

namespace entrain::server {
namespace {

using pool::PoolMachine;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// An engine in memory. It gives a machine when the test says so.
struct Engine {
  std::vector<PoolMachine> machines;
  int next_job = 1;
  std::optional<absl::Status> refuses;
  bool silent = false;
  std::vector<std::string> released;

  PoolMachine& Find(const std::string& id) {
    return *std::find_if(machines.begin(), machines.end(), [&](const PoolMachine& machine) { return machine.id == id; });
  }
  void Give(const std::string& id) { Find(id).state = PoolMachine::State::kUp; }
  void Take(const std::string& id) {
    std::erase_if(machines, [&](const PoolMachine& machine) { return machine.id == id; });
  }
};

class EngineProvider : public pool::PoolProvider {
 public:
  EngineProvider(pool::PoolLimits limits, Engine* engine) : limits_(std::move(limits)), engine_(engine) {}
  const pool::PoolLimits& limits() const override { return limits_; }
  std::string engine() const override { return "memory"; }
  absl::StatusOr<std::vector<PoolMachine>> List() override {
    if (engine_->silent) return absl::UnavailableError("no answer");
    return engine_->machines;
  }
  absl::Status Grow(std::int64_t machines, const pool::GangRequest*) override {
    if (engine_->refuses.has_value()) return *engine_->refuses;
    for (std::int64_t i = 0; i < machines; ++i) {
      const std::string id = StrCat(engine_->next_job++);
      engine_->machines.push_back({.id = id, .unit = id, .worker_name = "hpc-" + id, .state = PoolMachine::State::kPending, .detail = "Resources"});
    }
    return absl::OkStatus();
  }
  absl::Status Release(const std::vector<PoolMachine>& machines) override {
    for (const PoolMachine& machine : machines) {
      engine_->released.push_back(machine.id);
      engine_->Find(machine.id).state = PoolMachine::State::kLeaving;
    }
    return absl::OkStatus();
  }
  bool CanReleaseAny() const override { return true; }
  bool Owns(const std::string& name) const override { return name.starts_with("hpc-"); }

 private:
  pool::PoolLimits limits_;
  Engine* engine_;
};

class PoolKeeperTest : public testing::Test {
 protected:
  PoolKeeperTest() {
    core::CoreConfig config;
    config.elastic = {{"hpc", 2, 3}};
    world_ = std::make_unique<core::World>(config);
    Begin();
  }
  void Begin() {
    pool::PoolLimits limits{.name = "hpc", .shape = {domain::SlotKind::kCpu, 2}, .min_machines = 0, .max_machines = 3, .idle_ms = 10'000};
    std::vector<std::unique_ptr<pool::PoolProvider>> pools;
    pools.push_back(std::make_unique<EngineProvider>(limits, &engine_));
    keeper_ = std::make_unique<PoolKeeper>(std::move(pools), &published_, [this](domain::ActOnWorker act) { asked_.push_back(std::move(act)); }, &clock_,
                                           &board_, nullptr);
  }
  template <typename Event>
  void Do(Event event) {
    world_->Do(std::move(event));
    EXPECT_THAT(world_->broken(), IsEmpty());
    published_.Publish(std::make_shared<const core::State>(world_->state()));
  }
  void Advance(std::int64_t ms) {
    clock_.Advance(ms);
    world_->Advance(ms);
  }
  // A round, and the core does what it is asked.
  void Round() {
    asked_.clear();
    keeper_->Round();
    for (const domain::ActOnWorker& act : asked_) Do(act);
  }
  void Submit(int runs, std::int64_t ranks = 1) {
    domain::SubmitSweep submit;
    submit.proposed_id = SweepId(StrCat("s", ++sweeps_));
    submit.idempotency_key = submit.proposed_id.value();
    submit.spec.name = submit.proposed_id.value();
    submit.spec.owner = "ann";
    for (int i = 0; i < runs; ++i) submit.spec.runs.push_back(core::MakeRunSpec(StrCat(submit.proposed_id.value(), ".", i + 1), 1, ranks));
    Do(submit);
  }
  void Join(const std::string& job, const std::vector<domain::AttemptKey>& has = {}) {
    domain::WorkerInfo info = core::MakeWorkerInfo("id-" + job, 2);
    info.name = "hpc-" + job;
    Do(domain::WorkerJoined{info, world_->NextIncarnation(info.id), has});
  }
  void Disconnect(const std::string& job) {
    const WorkerId id("id-" + job);
    Do(domain::WorkerDisconnected{id, world_->state().FindWorker(id)->incarnation});
  }
  const core::Worker* Worker(const std::string& job) { return world_->state().FindWorker(WorkerId("id-" + job)); }
  pool::PoolStatus Status() { return board_.Get().front(); }
  std::vector<std::string> Jobs() {
    std::vector<std::string> jobs;
    for (const PoolMachine& machine : engine_.machines) jobs.push_back(machine.id);
    return jobs;
  }
  void EndAll(const std::string& job) {
    const core::Worker worker = *Worker(job);
    std::uint64_t report = 0;
    for (const domain::AttemptKey& key : worker.slots) {
      if (key.attempt == 0) continue;
      domain::AttemptEnd end;
      end.cause = domain::EndCause::kUserError;
      Do(domain::AttemptEnded{worker.info.id, ++report, key, end});
    }
  }

  ManualClock clock_;
  Engine engine_;
  std::unique_ptr<core::World> world_;
  samples::PublishedState published_;
  pool::PoolBoard board_;
  std::vector<domain::ActOnWorker> asked_;
  std::unique_ptr<PoolKeeper> keeper_;
  int sweeps_ = 0;
};

TEST_F(PoolKeeperTest, GrowsForWhatWaitsAndShrinksAgain) {
  Submit(4);
  Round();
  EXPECT_THAT(Jobs(), ElementsAre("1", "2"));
  Round();
  EXPECT_THAT(Jobs(), ElementsAre("1", "2")) << "what was asked for counts";
  EXPECT_EQ(Status().doing, "waits for 2 machines");
  for (const char* job : {"1", "2"}) {
    engine_.Give(job);
    Join(job);
  }
  Round();
  EXPECT_EQ(Worker("1")->SlotsUsed(), 2);
  EndAll("1");
  EndAll("2");
  Round();
  Advance(9'999);
  Round();
  EXPECT_FALSE(Worker("1")->quarantined);
  Advance(1);
  Round();
  EXPECT_TRUE(Worker("1")->quarantined && Worker("2")->quarantined) << "nothing new is placed there";
  EXPECT_THAT(engine_.released, IsEmpty());
  Round();
  EXPECT_EQ(engine_.released.size(), 2u);
  // The daemons end, the jobs are over, the workers leave the list.
  for (const char* job : {"1", "2"}) {
    Disconnect(job);
    engine_.Take(job);
  }
  Round();
  EXPECT_TRUE(world_->state().workers.empty());
  EXPECT_EQ(Status().doing, "has what is needed");
}

TEST_F(PoolKeeperTest, AHeldMachineGetsTheRunThatCameMeanwhile) {
  Submit(2);
  Round();
  engine_.Give("1");
  Join("1");
  EndAll("1");
  Round();
  Advance(10'000);
  Round();
  ASSERT_TRUE(Worker("1")->quarantined);
  Submit(1);
  EXPECT_EQ(Worker("1")->SlotsUsed(), 0);
  Round();
  EXPECT_FALSE(Worker("1")->quarantined);
  EXPECT_EQ(Worker("1")->SlotsUsed(), 1);
  EXPECT_THAT(Jobs(), ElementsAre("1"));
}

TEST_F(PoolKeeperTest, ARestartNeitherDoublesNorForgets) {
  Submit(6);
  Round();
  engine_.Give("1");
  Join("1");
  ASSERT_EQ(Jobs().size(), 3u);
  // A new process: a new keeper, a state from the journal, workers that are not back yet.
  keeper_.reset();
  world_->Restart();
  published_.Publish(std::make_shared<const core::State>(world_->state()));
  Begin();
  Round();
  EXPECT_EQ(Jobs().size(), 3u);
  EXPECT_NE(Worker("1"), nullptr) << "its machine is there";
  // Machines that were being emptied are so still.
  Join("1", {Worker("1")->slots[0], Worker("1")->slots[1]});
  EXPECT_EQ(Worker("1")->SlotsUsed(), 2);
}

TEST_F(PoolKeeperTest, WhatTheEngineRefusesIsShownAndAskedForLessOften) {
  Submit(1);
  engine_.refuses = absl::FailedPreconditionError("sbatch says: Invalid account");
  Round();
  EXPECT_EQ(Status().problem, "sbatch says: Invalid account");
  engine_.refuses.reset();
  Round();
  EXPECT_THAT(Jobs(), IsEmpty());
  EXPECT_THAT(Status().doing, HasSubstr("asks again for 1 machine for run "));
  Advance(5'000);
  Round();
  EXPECT_THAT(Jobs(), ElementsAre("1"));
  EXPECT_EQ(Status().problem, "");
}

TEST_F(PoolKeeperTest, MachinesThatEndBeforeTheirWorkersComeAreFailures) {
  Submit(1);
  Round();
  engine_.Give("1");
  Round();
  engine_.Take("1");
  Round();
  EXPECT_EQ(Status().problem, "machine 1 ended before its worker registered; its log says why");
  EXPECT_THAT(Jobs(), IsEmpty());
  Advance(5'000);
  Round();
  EXPECT_THAT(Jobs(), ElementsAre("2"));
  engine_.Give("2");
  Join("2");
  Round();
  EXPECT_EQ(Status().problem, "");
}

TEST_F(PoolKeeperTest, AnEngineThatDoesNotAnswerChangesNothing) {
  Submit(4);
  Round();
  Round();
  engine_.silent = true;
  Round();
  EXPECT_EQ(Status().problem, "no answer");
  EXPECT_EQ(Status().machines.size(), 2u);
  engine_.silent = false;
  Round();
  EXPECT_EQ(Status().problem, "");
  EXPECT_EQ(Jobs().size(), 2u);
}

TEST_F(PoolKeeperTest, ARunOfAMachineThatTheEngineTookIsQueuedAtOnce) {
  Submit(1);
  Round();
  engine_.Give("1");
  Join("1");
  Round();
  ASSERT_EQ(Worker("1")->SlotsUsed(), 1);
  engine_.Take("1");
  Round();
  EXPECT_NE(Worker("1"), nullptr) << "connected: whatever the engine says, it is there";
  Disconnect("1");
  Round();
  EXPECT_EQ(Worker("1"), nullptr);
  EXPECT_EQ(world_->state().runs.First().second->state, domain::RunState::kQueued);
  EXPECT_THAT(world_->state().runs.First().second->reason, HasSubstr("is gone, as pool hpc says"));
  Round();
  EXPECT_THAT(Jobs(), ElementsAre("2"));
}

TEST_F(PoolKeeperTest, WorkersOfOthersAreLeftAlone) {
  const domain::WorkerInfo info = core::MakeWorkerInfo("host7", 2);
  Do(domain::WorkerJoined{info, world_->NextIncarnation(info.id), {}});
  Do(domain::WorkerDisconnected{info.id, world_->state().FindWorker(info.id)->incarnation});
  Advance(60'000);
  Round();
  EXPECT_NE(world_->state().FindWorker(info.id), nullptr);
}

TEST_F(PoolKeeperTest, ARunThatOnlyThePoolCouldHoldWaitsAndIsNotImpossible) {
  const domain::WorkerInfo info = core::MakeWorkerInfo("small", 1);
  Do(domain::WorkerJoined{info, world_->NextIncarnation(info.id), {}});
  Submit(1, 2);
  const core::Wait waits = core::DescribeWait(world_->state(), world_->state().runs.First().first);
  EXPECT_FALSE(waits.never);
  EXPECT_THAT(waits.reason, HasSubstr("the pool hpc may add machines of 2 slots, 3 at most"));
  Submit(1, 3);
  const core::Wait never = core::DescribeWait(world_->state(), (*world_->state().sweeps.Find(SweepId("s2")))->runs->front());
  EXPECT_TRUE(never.never);
}

}  // namespace
}  // namespace entrain::server
