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

void AddMachine(Index* index, const std::string& id, std::int32_t slots, std::int32_t busy = 0, bool has_peers = true) {
  Machine machine;
  machine.machine_class = {.pool = {domain::SlotKind::kCpu, "cpu"}, .slots = slots, .has_peers = has_peers};
  machine.busy.assign(static_cast<std::size_t>(slots), false);
  for (std::int32_t i = 0; i < busy; ++i) machine.busy[static_cast<std::size_t>(i)] = true;
  machine.free = slots - busy;
  machine.connected = true;
  index->fleet.Put(WorkerId(id), machine);
}

Request MakeRequest(std::uint64_t number, std::int64_t ranks, std::int64_t priority = 0, const std::string& sweep = "s",
                    const std::string& owner = "ann") {
  Request request;
  request.run = RunId(StrCat("r", number));
  request.sweep = SweepId(sweep);
  request.owner = owner;
  request.priority = priority;
  request.number = number;
  request.shape = {1, ranks};
  return request;
}
Holder HolderOf(const std::string& sweep, const std::string& owner = "ann", std::int64_t slots = 1) {
  return {.sweep = SweepId(sweep), .owner = owner, .priority = 0, .slots = slots};
}
std::string Name(const RunId& run) { return run.value(); }

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
  EXPECT_EQ(Explain(index, MakeRequest(1, 4), Name).text, "needs 4 slots on one machine; the only machine has 2");
  EXPECT_TRUE(Explain(index, MakeRequest(1, 4), Name).never);
}

TEST(Explain, NamesMachinesThatShareNoGang) {
  Index index;
  AddMachine(&index, "w1", 2, 0, false);
  AddMachine(&index, "w2", 2);
  Request gang = MakeRequest(1, 2);
  gang.shape.machines = 2;
  EXPECT_EQ(Explain(index, gang, Name).text,
            "needs 2 groups of 2 slots on machines of one kind; 2 machines with 4 slots in all cannot hold them: 1 of them shares no gang "
            "(started without --peer-listen)");
  EXPECT_TRUE(Explain(index, gang, Name).never);
  AddMachine(&index, "w3", 2, 1);
  EXPECT_EQ(Explain(index, gang, Name).text,
            "needs 2 groups of 2 slots on machines of one kind; 5 of 6 free (machines: 1 busy, 1 without --peer-listen); it is next");
  EXPECT_FALSE(Explain(index, gang, Name).never);
}

TEST(MakePlan, HoldsEverySweepToItsCap) {
  Index index;
  AddMachine(&index, "w1", 4);
  index.queue.SetCap(SweepId("capped"), 2);
  for (std::uint64_t i = 1; i <= 3; ++i) index.queue.Push(MakeRequest(i, 1, 0, "capped"));
  index.queue.Push(MakeRequest(4, 1));
  EXPECT_THAT(Placed(MakePlan(index, 10)), ElementsAre("r1 w1", "r2 w1", "r4 w1"));
  for (int i = 0; i < 2; ++i) index.queue.CountActive(HolderOf("capped"), +1);
  EXPECT_THAT(Placed(MakePlan(index, 10)), ElementsAre("r4 w1"));
  EXPECT_EQ(Explain(index, MakeRequest(1, 1, 0, "capped"), Name).text, "its sweep may hold slots for 2 runs at once, and 2 do");
  index.queue.CountActive(HolderOf("capped"), -1);
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

TEST(MakePlan, GivesTheNextSlotToTheOwnerWhoHoldsFewest) {
  Index index;
  AddMachine(&index, "w1", 8, 3);
  index.queue.CountActive(HolderOf("s", "ann", 3), +1);
  for (std::uint64_t i = 1; i <= 5; ++i) index.queue.Push(MakeRequest(i, 1));
  for (std::uint64_t i = 6; i <= 9; ++i) index.queue.Push(MakeRequest(i, 1, 0, "t", "bob"));
  // Bob catches up first, then they take turns, the one who submitted first on a tie.
  EXPECT_THAT(Placed(MakePlan(index, 10)), ElementsAre("r6 w1", "r7 w1", "r8 w1", "r1 w1", "r9 w1"));
  EXPECT_EQ(Explain(index, MakeRequest(1, 1), Name).text,
            "needs 1 slot; 5 of 8 free, kept for a run that goes first; runs of bob go first, who holds 0 slots to ann's 3");
  EXPECT_EQ(Explain(index, MakeRequest(3, 1), Name).text,
            "needs 1 slot; 5 of 8 free, kept for a run that goes first; runs of bob go first, who holds 0 slots to ann's 3; 2 runs go first (r1, r2)");
}

// Ahead against trying every waiting run.
TEST(Queue, CountsAndNamesWhoGoesFirst) {
  constexpr const char* kOwners[] = {"ann", "bob", "eve"};
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    Rng rng(seed, 6);
    Queue queue;
    queue.SetCap(SweepId("capped"), 1);
    std::vector<Request> all;
    for (std::uint64_t number = 1; number <= 40; ++number) {
      const std::string owner = kOwners[rng.Below(3)];
      const bool capped = owner == "ann" && rng.Below(4) == 0;
      all.push_back(MakeRequest(number, static_cast<std::int64_t>(1 + rng.Below(3)), static_cast<std::int64_t>(rng.Below(3)),
                                capped ? "capped" : StrCat("s-", owner), owner));
      all.back().aged = rng.Below(8) == 0;
      queue.Push(all.back());
    }
    const bool at_cap = rng.Below(2) == 0;
    if (at_cap) queue.CountActive(HolderOf("capped"), +1);
    for (const Request& mine : all) {
      std::map<Rank, RunId> expected;
      for (const Request& other : all) {
        if (at_cap && other.sweep == SweepId("capped")) continue;
        const Rank a = RankOf(other);
        const Rank b = RankOf(mine);
        const bool by_rank = other.owner == mine.owner || mine.aged;
        const bool first = by_rank ? a < b : std::pair(a.minus_priority, a.not_aged) < std::pair(b.minus_priority, b.not_aged);
        if (first) expected[a] = other.run;
      }
      const Queue::AheadOf ahead = queue.Ahead(mine, 20, 3);
      ASSERT_EQ(ahead.count, std::min<std::size_t>(20, expected.size())) << "seed " << seed;
      ASSERT_EQ(ahead.first.size(), std::min<std::size_t>(3, expected.size())) << "seed " << seed;
      auto at = expected.begin();
      for (const RunId& run : ahead.first) EXPECT_EQ(run, (at++)->second) << "seed " << seed;
    }
  }
}

TEST(MakePlan, PriorityAndAgeGoBeforeShares) {
  Index index;
  AddMachine(&index, "w1", 8, 3);
  index.queue.CountActive(HolderOf("s", "ann", 3), +1);
  index.queue.Push(MakeRequest(1, 1, 0, "t", "bob"));
  index.queue.Push(MakeRequest(2, 1, 5));
  Request aged = MakeRequest(3, 1);
  aged.aged = true;
  index.queue.Push(aged);
  EXPECT_THAT(Placed(MakePlan(index, 10)), ElementsAre("r2 w1", "r3 w1", "r1 w1"));
}

TEST(MakePlan, KeepsReservedMachinesForTheirRun) {
  Index index;
  AddMachine(&index, "w1", 4, 2);
  AddMachine(&index, "w2", 4, 1);
  Request large = MakeRequest(1, 4, 5);
  large.aged = true;
  large.reserved = {WorkerId("w1")};
  index.queue.Push(large);
  index.queue.Push(MakeRequest(2, 2));
  // Without the reservation w2, which has more room, would be kept.
  EXPECT_THAT(Placed(MakePlan(index, 10)), ElementsAre("r2 w2"));
}

TEST(Queue, AHeadCountsItsAgeFromWhenItBecameTheFirst) {
  Queue queue;
  queue.SetNow(100);
  queue.Push(MakeRequest(2, 1));
  queue.SetNow(200);
  queue.Push(MakeRequest(1, 1));
  EXPECT_EQ(queue.heads().Find("ann")->begin()->second.since_ms, 200);
  queue.SetNow(300);
  queue.Push(MakeRequest(3, 1));
  EXPECT_EQ(queue.heads().Find("ann")->begin()->second.since_ms, 200);
  queue.Remove(MakeRequest(1, 1));
  EXPECT_EQ(queue.heads().Find("ann")->begin()->second.since_ms, 300);
  queue.SetNow(400);
  queue.RestartAges();
  EXPECT_EQ(queue.heads().Find("ann")->begin()->second.since_ms, 400);
}

TEST(MakePlan, GivesNothingToAnEmptyFleet) {
  Index index;
  index.queue.Push(MakeRequest(1, 1));
  EXPECT_THAT(Placed(MakePlan(index, 10)), IsEmpty());
  EXPECT_EQ(Explain(index, MakeRequest(1, 1), Name).text, "needs 1 slot; no worker has joined yet");
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
