#include "coordinator/pool/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/strings.h"

namespace entrain::pool {
namespace {

using State = PoolMachine::State;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::int64_t kNow = 10'000'000;

PoolLimits Limits(std::int64_t min, std::int64_t max, std::int32_t slots = 2) {
  return {.name = "hpc", .shape = {domain::SlotKind::kCpu, slots}, .min_machines = min, .max_machines = max, .idle_ms = 60'000};
}
Seen Pending(const std::string& id, std::int64_t for_ms = 0) {
  return {.machine = {.id = id, .unit = id, .worker_name = "w" + id, .state = State::kPending}, .since_ms = kNow - for_ms};
}
Seen Up(const std::string& id, std::int64_t used, std::int64_t for_ms = 0) {
  Seen seen = Pending(id, for_ms);
  seen.machine.state = State::kUp;
  seen.worker = WorkerId("w" + id);
  seen.slots = 2;
  seen.used = used;
  seen.connected = true;
  return seen;
}
Seen Unit(Seen seen, const std::string& unit) {
  seen.machine.unit = unit;
  return seen;
}
Seen Held(Seen seen) {
  seen.held = true;
  return seen;
}
std::vector<Waiting> Runs(int count, scheduler::Shape shape = {1, 1}) {
  std::vector<Waiting> runs;
  for (int i = 0; i < count; ++i) runs.push_back({RunId(StrCat("r", i)), shape});
  return runs;
}
PoolPlan Plan(const std::vector<Waiting>& waiting, const std::vector<Seen>& machines, const PoolLimits& limits, bool any = true,
              const Asking& asking = {}) {
  return PlanPool(waiting, machines, limits, any, asking, kNow);
}
std::int64_t Grown(const PoolPlan& plan) {
  std::int64_t machines = 0;
  for (const Order& order : plan.grow) machines += order.machines;
  return machines;
}

TEST(PlanPoolTest, AsksForWhatTheWaitingRunsNeedAndNoMore) {
  const PoolPlan plan = Plan(Runs(5), {}, Limits(0, 10));
  EXPECT_EQ(Grown(plan), 3) << "two runs of one slot on each machine";
  EXPECT_EQ(plan.grow.front().gang, std::nullopt);
  EXPECT_EQ(plan.doing, "asks for 3 machines for run r0 and 2 more");
  EXPECT_THAT(plan.left, IsEmpty());
}

TEST(PlanPoolTest, WithoutPeersAGangHasOneMachine) {
  PoolLimits limits = Limits(0, 10);
  limits.peers = false;
  EXPECT_EQ(Grown(Plan(Runs(1, {2, 1}), {}, limits)), 1) << "both groups on one machine of two slots";
  const PoolPlan plan = Plan(Runs(1, {2, 2}), {}, limits);
  EXPECT_EQ(Grown(plan), 0);
  EXPECT_EQ(plan.left.size(), 1u);
  limits.peers = true;
  EXPECT_EQ(Grown(Plan(Runs(1, {2, 2}), {}, limits)), 2);
}

TEST(PlanPoolTest, NothingIsAskedForTwice) {
  EXPECT_EQ(Grown(Plan(Runs(5), {Pending("1"), Pending("2"), Pending("3")}, Limits(0, 10))), 0);
  EXPECT_EQ(Grown(Plan(Runs(5), {Pending("1"), Up("2", 1)}, Limits(0, 10))), 1) << "2 + 1 slots are there or come";
  EXPECT_EQ(Plan(Runs(1), {Pending("1")}, Limits(0, 10)).doing, "waits for 1 machine");
}

TEST(PlanPoolTest, AWorkerThatIsAwayForAMomentCounts) {
  Seen away = Up("1", 0, 5'000);
  away.connected = false;
  EXPECT_EQ(Grown(Plan(Runs(2), {away}, Limits(0, 10))), 0) << "the coordinator has just started again";
  away.since_ms = kNow - kRegisterLimitMs;
  EXPECT_EQ(Grown(Plan(Runs(2), {away}, Limits(0, 10))), 1);
}

TEST(PlanPoolTest, StaysWithinItsLimitsAndPassesTheRestOn) {
  const PoolPlan plan = Plan(Runs(9), {Up("1", 2)}, Limits(0, 3));
  EXPECT_EQ(Grown(plan), 2);
  EXPECT_EQ(plan.left.size(), 5u) << "two more machines hold four";
  EXPECT_EQ(plan.left.front().run, RunId("r4"));
  const PoolPlan full = Plan(Runs(2), {Up("1", 2), Up("2", 2), Pending("3")}, Limits(0, 3));
  EXPECT_THAT(full.grow, IsEmpty());
  const PoolPlan overfull = Plan(Runs(1), {Up("1", 2)}, Limits(0, 1));
  EXPECT_EQ(overfull.doing, "is as large as it may be, with no room for run r0");
}

TEST(PlanPoolTest, AMachineThatLeavesTakesUpRoomAndGivesNone) {
  Seen leaving = Up("1", 0);
  leaving.machine.state = State::kLeaving;
  Seen draining = Up("2", 0);
  draining.draining = true;
  const PoolPlan plan = Plan(Runs(8), {leaving, draining}, Limits(0, 3));
  EXPECT_EQ(Grown(plan), 1) << "the engine counts them as long as they are there";
  EXPECT_THAT(plan.release, IsEmpty());
  EXPECT_THAT(plan.hold, IsEmpty());
}

TEST(PlanPoolTest, ARunThatItsMachinesCannotHoldIsForAnother) {
  const PoolPlan plan = Plan({{RunId("big"), {1, 3}}, {RunId("wide"), {9, 2}}, {RunId("small"), {1, 1}}}, {}, Limits(0, 4));
  EXPECT_EQ(Grown(plan), 1);
  ASSERT_EQ(plan.left.size(), 2u);
  EXPECT_EQ(plan.left[0].run, RunId("big"));
  EXPECT_EQ(plan.left[1].run, RunId("wide"));
}

TEST(PlanPoolTest, AGangIsPlacedWholeOrNotAtAll) {
  // Two machines of 2 slots for the gang of 2 x 2; the small run finds room on neither, and no third may come.
  const PoolPlan plan = Plan({{RunId("gang"), {2, 2}}, {RunId("small"), {1, 1}}}, {}, Limits(0, 2));
  EXPECT_EQ(Grown(plan), 2);
  ASSERT_EQ(plan.left.size(), 1u);
  EXPECT_EQ(plan.left[0].run, RunId("small"));
  // A gang that does not fit beside what is there leaves the room to whoever comes after it.
  const PoolPlan second = Plan({{RunId("gang"), {2, 2}}, {RunId("small"), {1, 1}}}, {Up("1", 1)}, Limits(0, 2));
  EXPECT_EQ(Grown(second), 0);
  ASSERT_EQ(second.left.size(), 1u);
  EXPECT_EQ(second.left[0].run, RunId("gang"));
}

TEST(PlanPoolTest, AGangShapedPoolGrowsByOneUnitAGang) {
  PoolLimits limits = Limits(0, 8);
  limits.gang_shaped = true;
  const PoolPlan plan = Plan({{RunId("a"), {3, 2}}, {RunId("b"), {4, 1}}}, {}, limits);
  EXPECT_THAT(plan.grow, ElementsAre(Order{3, GangRequest{RunId("a"), 3, 2}}, Order{2, GangRequest{RunId("b"), 4, 1}}));
  // Once the machines are on their way they are the gangs'.
  const std::vector<Seen> coming = {Unit(Pending("1.0"), "1"), Unit(Pending("1.1"), "1"), Unit(Pending("1.2"), "1")};
  const PoolPlan next = Plan({{RunId("a"), {3, 2}}, {RunId("b"), {4, 1}}}, coming, limits);
  EXPECT_THAT(next.grow, ElementsAre(Order{2, GangRequest{RunId("b"), 4, 1}}));
}

TEST(PlanPoolTest, GrowsToTheMinimum) {
  EXPECT_EQ(Grown(Plan({}, {}, Limits(2, 4))), 2);
  EXPECT_EQ(Grown(Plan({}, {Up("1", 0)}, Limits(2, 4))), 1);
  EXPECT_EQ(Grown(Plan(Runs(2), {Up("1", 2)}, Limits(2, 4))), 1) << "the machine for the runs is the minimum's too";
}

TEST(PlanPoolTest, AnIdleMachineIsEmptiedFirstAndGivenBackThen) {
  const PoolPlan young = Plan({}, {Up("1", 0, 59'999)}, Limits(0, 4));
  EXPECT_THAT(young.hold, IsEmpty());
  const PoolPlan idle = Plan({}, {Up("1", 0, 60'000), Up("2", 1, 90'000)}, Limits(0, 4));
  EXPECT_THAT(idle.hold, ElementsAre(0));
  EXPECT_THAT(idle.release, IsEmpty()) << "a run could be placed there between the look and the release";
  const PoolPlan held = Plan({}, {Held(Up("1", 0, 61'000))}, Limits(0, 4));
  EXPECT_THAT(held.release, ElementsAre(0));
  EXPECT_THAT(held.hold, IsEmpty());
}

TEST(PlanPoolTest, KeepsTheMinimumAndLetsTheNewestGo) {
  const PoolPlan plan = Plan({}, {Up("1", 0, 70'000), Up("2", 0, 70'000), Up("3", 0, 70'000)}, Limits(2, 4));
  EXPECT_THAT(plan.hold, ElementsAre(2));
  EXPECT_THAT(Plan({}, {Up("1", 0, 70'000), Up("2", 0, 70'000)}, Limits(2, 4)).hold, IsEmpty());
}

TEST(PlanPoolTest, AHeldMachineThatIsNeededAfterAllWorksOn) {
  const PoolPlan plan = Plan(Runs(1), {Held(Up("1", 0, 70'000))}, Limits(0, 4));
  EXPECT_THAT(plan.unhold, ElementsAre(0));
  EXPECT_THAT(plan.grow, IsEmpty());
  EXPECT_THAT(plan.release, IsEmpty());
  // A run came in between: what it holds it holds.
  const PoolPlan used = Plan({}, {Held(Up("1", 1, 0))}, Limits(0, 4));
  EXPECT_THAT(used.unhold, ElementsAre(0));
}

TEST(PlanPoolTest, MachinesOfOneUnitGoTogether) {
  const std::vector<Seen> one_busy = {Unit(Up("1.0", 0, 90'000), "1"), Unit(Up("1.1", 1, 90'000), "1")};
  EXPECT_THAT(Plan({}, one_busy, Limits(0, 4)).hold, IsEmpty());
  const std::vector<Seen> idle = {Unit(Up("1.0", 0, 90'000), "1"), Unit(Up("1.1", 0, 90'000), "1"), Up("2", 2)};
  EXPECT_THAT(Plan({}, idle, Limits(0, 4)).hold, ElementsAre(0, 1));
  const std::vector<Seen> half_held = {Unit(Held(Up("1.0", 0, 90'000)), "1"), Unit(Up("1.1", 0, 90'000), "1")};
  const PoolPlan plan = Plan({}, half_held, Limits(0, 4));
  EXPECT_THAT(plan.hold, ElementsAre(1));
  EXPECT_THAT(plan.release, IsEmpty());
  EXPECT_THAT(Plan({}, idle, Limits(2, 4)).hold, IsEmpty()) << "without the unit there would be fewer than the minimum";
}

TEST(PlanPoolTest, WhereOnlyTheEndCanGoNothingBeforeItDoes) {
  const std::vector<Seen> machines = {Up("0", 0, 90'000), Up("1", 1), Up("2", 0, 90'000)};
  EXPECT_THAT(Plan({}, machines, Limits(0, 4), false).hold, ElementsAre(2));
  EXPECT_THAT(Plan({}, machines, Limits(0, 4), true).hold, ElementsAre(2, 0));
  const std::vector<Seen> blocked = {Held(Up("0", 0, 90'000)), Up("1", 1)};
  EXPECT_THAT(Plan({}, blocked, Limits(0, 4), false).unhold, ElementsAre(0)) << "it cannot go before the one after it";
}

TEST(PlanPoolTest, PendingMachinesThatNobodyNeedsAnyMoreAreCancelled) {
  EXPECT_THAT(Plan({}, {Pending("1", 60'000)}, Limits(0, 4)).release, ElementsAre(0));
  EXPECT_THAT(Plan({}, {Pending("1", 59'000)}, Limits(0, 4)).release, IsEmpty());
  EXPECT_THAT(Plan(Runs(1), {Pending("1", 60'000)}, Limits(0, 4)).release, IsEmpty());
}

TEST(PlanPoolTest, AMachineWhoseWorkerNeverComesIsGivenBackAndReplaced) {
  Seen hung = Pending("1", kRegisterLimitMs);
  hung.machine.state = State::kUp;
  const PoolPlan plan = Plan(Runs(1), {hung}, Limits(1, 4));
  EXPECT_THAT(plan.release, ElementsAre(0));
  EXPECT_EQ(Grown(plan), 1);
}

TEST(PlanPoolTest, AfterAFailureItWaits) {
  const PoolPlan plan = Plan(Runs(1), {}, Limits(0, 4), true, {.failures = 2, .not_before_ms = kNow + 7'500});
  EXPECT_THAT(plan.grow, IsEmpty());
  EXPECT_EQ(plan.doing, "asks again for 1 machine for run r0 in 8 s");
  EXPECT_EQ(Grown(Plan(Runs(1), {}, Limits(0, 4), true, {.failures = 2, .not_before_ms = kNow})), 1);
  EXPECT_EQ(PauseAfter(0), 0);
  EXPECT_EQ(PauseAfter(1), 5'000);
  EXPECT_EQ(PauseAfter(3), 20'000);
  EXPECT_EQ(PauseAfter(60), 300'000);
}

TEST(PlanPoolTest, AMachineInAnothersQuarantineHoldsNothingAndMayGo) {
  Seen barred = Up("1", 0, 90'000);
  barred.barred = true;
  const PoolPlan plan = Plan(Runs(1), {barred}, Limits(0, 4));
  EXPECT_EQ(Grown(plan), 1);
  EXPECT_THAT(plan.release, ElementsAre(0)) << "nothing can be placed there";
}

}  // namespace
}  // namespace entrain::pool
