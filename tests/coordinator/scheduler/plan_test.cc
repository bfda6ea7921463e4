#include "coordinator/scheduler/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "base/random.h"
#include "base/strings.h"

namespace entrain::scheduler {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

void AddMachine(Index* index, const std::string& id, std::int32_t slots, std::int32_t busy = 0) {
  Machine machine;
  machine.machine_class = {.pool = {domain::SlotKind::kCpu, "cpu"}, .slots = slots};
  machine.busy.assign(static_cast<std::size_t>(slots), false);
  for (std::int32_t i = 0; i < busy; ++i) machine.busy[static_cast<std::size_t>(i)] = true;
  machine.free = slots - busy;
  machine.connected = true;
  index->fleet.Put(WorkerId(id), machine);
}

Request MakeRequest(std::uint64_t number, std::int64_t ranks, std::int64_t priority = 0, const std::string& sweep = "s") {
  return {.run = RunId(StrCat("r", number)), .sweep = SweepId(sweep), .priority = priority, .number = number, .shape = {1, ranks}, .preferred_device = ""};
}

std::vector<std::string> Placed(const Plan& plan) {
  std::vector<std::string> placed;
  for (const Placement& placement : plan.placements) {
    placed.push_back(placement.request.run.value() + " " + placement.gang.members.front().worker.value());
  }
  return placed;
}

TEST(MakePlan, GoesByPriorityThenByOrder) {
  Index index;
  AddMachine(&index, "w1", 2);
  index.queue.Push(MakeRequest(1, 1));
  index.queue.Push(MakeRequest(2, 1, 5));
  index.queue.Push(MakeRequest(3, 1, 5));
  EXPECT_THAT(Placed(MakePlan(index, 10)), ElementsAre("r2 w1", "r3 w1"));
  const Plan one = MakePlan(index, 1);
  EXPECT_THAT(Placed(one), ElementsAre("r2 w1"));
  EXPECT_TRUE(one.more);
}

TEST(MakePlan, BackfillsOnlyBesideTheMachinesOfAGangThatGoesFirst) {
  Index index;
  AddMachine(&index, "w1", 4, 2);
  AddMachine(&index, "w2", 2, 1);
  index.queue.Push(MakeRequest(1, 4));
  index.queue.Push(MakeRequest(2, 2));
  index.queue.Push(MakeRequest(3, 1));
  const Plan plan = MakePlan(index, 10);
  EXPECT_THAT(Placed(plan), ElementsAre("r3 w2"));
  ASSERT_FALSE(plan.waiting.empty());
  EXPECT_EQ(plan.waiting.front().run, RunId("r1"));
}

TEST(MakePlan, KeepsNothingForAGangThatCanNeverFit) {
  Index index;
  AddMachine(&index, "w1", 2);
  index.queue.Push(MakeRequest(1, 4));
  index.queue.Push(MakeRequest(2, 2));
  EXPECT_THAT(Placed(MakePlan(index, 10)), ElementsAre("r2 w1"));
  EXPECT_EQ(Explain(index, MakeRequest(1, 4)).text, "needs 4 slots on one machine; the only machine has 2");
  EXPECT_TRUE(Explain(index, MakeRequest(1, 4)).never);
}

TEST(MakePlan, HoldsEverySweepToItsCap) {
  Index index;
  AddMachine(&index, "w1", 4);
  index.queue.SetCap(SweepId("capped"), 2);
  for (std::uint64_t i = 1; i <= 3; ++i) index.queue.Push(MakeRequest(i, 1, 0, "capped"));
  index.queue.Push(MakeRequest(4, 1));
  EXPECT_THAT(Placed(MakePlan(index, 10)), ElementsAre("r1 w1", "r2 w1", "r4 w1"));
  index.queue.CountActive(SweepId("capped"), +2);
  EXPECT_THAT(Placed(MakePlan(index, 10)), ElementsAre("r4 w1"));
  EXPECT_EQ(Explain(index, MakeRequest(1, 1, 0, "capped")).text, "its sweep may hold slots for 2 runs at once, and 2 do");
  index.queue.CountActive(SweepId("capped"), -1);
  EXPECT_THAT(Placed(MakePlan(index, 10)), ElementsAre("r1 w1", "r4 w1"));
}

TEST(MakePlan, SmallRunsOfACappedSweepDoNotOvertakeItsLargeOneForEver) {
  Index index;
  AddMachine(&index, "w1", 4, 1);
  AddMachine(&index, "w2", 2);
  index.queue.SetCap(SweepId("capped"), 1);
  index.queue.Push(MakeRequest(1, 4, 0, "capped"));
  index.queue.Push(MakeRequest(2, 1, 0, "capped"));
  EXPECT_THAT(Placed(MakePlan(index, 10)), IsEmpty());
}

TEST(MakePlan, GivesNothingToAnEmptyFleet) {
  Index index;
  index.queue.Push(MakeRequest(1, 1));
  EXPECT_THAT(Placed(MakePlan(index, 10)), IsEmpty());
  EXPECT_EQ(Explain(index, MakeRequest(1, 1)).text, "needs 1 slot; no worker has joined yet");
}

// A stream of runs, small ones always waiting: a gang as large as a machine starts after at most the attempts that ran when it came.
TEST(MakePlan, ALargeGangIsNotStarved) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    Rng rng(seed, 2);
    Index index;
    AddMachine(&index, "w1", 8);
    AddMachine(&index, "w2", 8);
    std::uint64_t number = 0;
    std::map<std::string, Placement> running;
    std::uint64_t large = 0;
    bool started = false;
    for (int round = 0; round < 200 && !started; ++round) {
      for (int i = 0; i < 4; ++i) index.queue.Push(MakeRequest(++number, 1 + static_cast<std::int64_t>(rng.Below(3))));
      if (round == 20) index.queue.Push(MakeRequest(large = ++number, 8));
      for (const Placement& placement : MakePlan(index, 100).placements) {
        for (const domain::GangMember& member : placement.gang.members) index.fleet.SetBusy(member.worker, member.slots, true);
        index.queue.Remove(placement.request);
        running.emplace(placement.request.run.value(), placement);
        started |= placement.request.number == large && large != 0;
      }
      if (running.empty()) continue;
      auto ends = running.begin();
      std::advance(ends, static_cast<std::ptrdiff_t>(rng.Below(running.size())));
      for (const domain::GangMember& member : ends->second.gang.members) index.fleet.SetBusy(member.worker, member.slots, false);
      running.erase(ends);
    }
    EXPECT_TRUE(started) << "seed " << seed;
  }
}

}  // namespace
}  // namespace entrain::scheduler
