#include "coordinator/scheduler/placement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/random.h"
#include "base/strings.h"

namespace entrain::scheduler {
namespace {

Machine MakeMachine(std::int32_t slots, std::int32_t busy, const std::string& device = "cpu", bool has_peers = true) {
  Machine machine;
  machine.machine_class = {.pool = {domain::SlotKind::kCpu, device}, .slots = slots, .has_peers = has_peers};
  machine.busy.assign(static_cast<std::size_t>(slots), false);
  for (std::int32_t i = 0; i < busy; ++i) machine.busy[static_cast<std::size_t>(i)] = true;
  machine.free = slots - busy;
  machine.connected = true;
  return machine;
}

std::string TextOf(const std::optional<ScoredGang>& found) {
  if (!found.has_value()) return "none";
  std::string text;
  for (const domain::GangMember& member : found->gang.members) {
    StrAppend(&text, text.empty() ? "" : " ", member.worker.value(), ":");
    for (std::size_t i = 0; i < member.slots.size(); ++i) StrAppend(&text, i == 0 ? "" : ",", member.slots[i]);
  }
  return text;
}

TEST(FindGang, PrefersOneMachineAndTheTightestFit) {
  Fleet fleet;
  fleet.Put(WorkerId("a"), MakeMachine(8, 0));
  fleet.Put(WorkerId("b"), MakeMachine(4, 1));
  fleet.Put(WorkerId("c"), MakeMachine(4, 2));
  EXPECT_EQ(TextOf(FindGang(fleet, {1, 2}, "")), "c:2,3");
  EXPECT_EQ(TextOf(FindGang(fleet, {1, 3}, "")), "b:1,2,3");
  EXPECT_EQ(TextOf(FindGang(fleet, {2, 2}, "")), "a:0,1,2,3") << "one machine holds both groups";
  EXPECT_EQ(TextOf(FindGang(fleet, {1, 9}, "")), "none");
}

TEST(FindGang, TakesTheFewestMachinesAllOrNone) {
  Fleet fleet;
  fleet.Put(WorkerId("a"), MakeMachine(4, 0));
  fleet.Put(WorkerId("b"), MakeMachine(4, 1));
  fleet.Put(WorkerId("c"), MakeMachine(4, 2));
  EXPECT_EQ(TextOf(FindGang(fleet, {3, 2}, "")), "a:0,1,2,3 c:2,3");
  EXPECT_EQ(TextOf(FindGang(fleet, {4, 2}, "")), "a:0,1,2,3 b:1,2 c:2,3");
  EXPECT_EQ(TextOf(FindGang(fleet, {5, 2}, "")), "none") << "a group never spans two machines";
}

TEST(FindGang, NeverMixesPoolsAndPrefersTheDeviceOfTheCheckpoint) {
  Fleet fleet;
  fleet.Put(WorkerId("a"), MakeMachine(2, 0, "x"));
  fleet.Put(WorkerId("b"), MakeMachine(2, 0, "y"));
  EXPECT_EQ(TextOf(FindGang(fleet, {2, 2}, "")), "none");
  EXPECT_FALSE(CouldEverFit(fleet, {2, 2}));
  EXPECT_EQ(TextOf(FindGang(fleet, {1, 1}, "y")), "b:0");
  EXPECT_EQ(TextOf(FindGang(fleet, {1, 1}, "z")), "a:0") << "another device is better than none";
}

TEST(FindGang, UsesOnlyMachinesThatReport) {
  Fleet fleet;
  for (int i = 0; i < 4; ++i) {
    Machine machine = MakeMachine(2, 0);
    machine.silent = i == 0;
    machine.draining = i == 1;
    machine.connected = i != 2;
    machine.quarantined = i == 3;
    fleet.Put(WorkerId(StrCat("w", i)), machine);
  }
  EXPECT_EQ(fleet.free_slots(), 0);
  EXPECT_EQ(TextOf(FindGang(fleet, {1, 1}, "")), "none");
  EXPECT_TRUE(CouldEverFit(fleet, {1, 2})) << "not now is not never";
}

TEST(FindGang, SpansOnlyMachinesThatReachEachOther) {
  Fleet fleet;
  fleet.Put(WorkerId("a"), MakeMachine(4, 0, "cpu", false));
  fleet.Put(WorkerId("b"), MakeMachine(2, 0));
  EXPECT_EQ(TextOf(FindGang(fleet, {2, 2}, "")), "a:0,1,2,3") << "alone it needs no other";
  EXPECT_EQ(TextOf(FindGang(fleet, {3, 2}, "")), "none");
  EXPECT_FALSE(CouldEverFit(fleet, {3, 2}));
  EXPECT_TRUE(MachinesToKeep(fleet, {3, 2}).empty());
  fleet.Put(WorkerId("c"), MakeMachine(4, 0));
  EXPECT_EQ(TextOf(FindGang(fleet, {3, 2}, "")), "c:0,1,2,3 b:0,1");
  EXPECT_TRUE(CouldEverFit(fleet, {3, 2}));
  EXPECT_EQ(MachinesToKeep(fleet, {3, 2}), (std::vector<WorkerId>{WorkerId("c"), WorkerId("b")}));
  EXPECT_EQ(TextOf(FindGang(fleet, {1, 4}, "")), "a:0,1,2,3") << "what can share a gang is left to gangs that must";
}

TEST(FindGang, PassesOverMachinesThatAreKept) {
  Fleet fleet;
  for (const char* id : {"a", "b", "c", "d"}) fleet.Put(WorkerId(id), MakeMachine(2, 0));
  Machine draining = MakeMachine(2, 0);
  draining.draining = true;
  fleet.Put(WorkerId("e"), draining);
  KeptMachines kept;
  kept.Add(fleet, {WorkerId("a"), WorkerId("c"), WorkerId("e"), WorkerId("gone")});
  kept.Add(fleet, {WorkerId("a")});
  EXPECT_EQ(kept.free_slots(), 4) << "what drains is counted nowhere";
  EXPECT_EQ(TextOf(FindGang(fleet, {1, 1}, "", kept)), "b:0");
  EXPECT_EQ(TextOf(FindGang(fleet, {3, 1}, "", kept)), "b:0,1 d:0");
  EXPECT_EQ(TextOf(FindGang(fleet, {3, 2}, "", kept)), "none");
  EXPECT_EQ(TextOf(FindGang(fleet, {3, 2}, "")), "a:0,1 b:0,1 c:0,1");
  EXPECT_EQ(MachinesToKeep(fleet, {2, 2}, kept), (std::vector<WorkerId>{WorkerId("b"), WorkerId("d")}));
}

TEST(MachinesToKeep, TakesTheOneThatFitsSoonest) {
  Fleet fleet;
  fleet.Put(WorkerId("a"), MakeMachine(4, 3));
  fleet.Put(WorkerId("b"), MakeMachine(4, 1));
  fleet.Put(WorkerId("c"), MakeMachine(2, 0));
  EXPECT_EQ(MachinesToKeep(fleet, {1, 4}), std::vector<WorkerId>{WorkerId("b")});
  EXPECT_EQ(MachinesToKeep(fleet, {5, 2}), (std::vector<WorkerId>{WorkerId("b"), WorkerId("c"), WorkerId("a")}));
  EXPECT_TRUE(MachinesToKeep(fleet, {1, 5}).empty());
}

// Tries every set of machines, for one pool of at most six.
std::int64_t FewestMachines(const Fleet& fleet, const Shape& shape) {
  std::vector<std::int64_t> groups;
  for (const auto& [worker, machine] : fleet.machines()) {
    if (PassesFilters(*machine, shape)) groups.push_back(machine->free / shape.ranks);
  }
  std::int64_t best = 0;
  for (unsigned set = 1; set < (1U << groups.size()); ++set) {
    std::int64_t machines = 0;
    std::int64_t held = 0;
    for (std::size_t i = 0; i < groups.size(); ++i) {
      if ((set >> i & 1U) == 0) continue;
      ++machines;
      held += groups[i];
    }
    if (held >= shape.machines && (best == 0 || machines < best)) best = machines;
  }
  return best;
}

TEST(FindGang, AgreesWithTryingEveryMachine) {
  for (std::uint64_t seed = 0; seed < 2'000; ++seed) {
    Rng rng(seed, 4);
    Fleet fleet;
    const std::uint64_t count = 1 + rng.Below(6);
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto slots = static_cast<std::int32_t>(1 + rng.Below(6));
      Machine machine = MakeMachine(slots, static_cast<std::int32_t>(rng.Below(static_cast<std::uint64_t>(slots) + 1)), "cpu", rng.Below(3) > 0);
      machine.silent = rng.Below(6) == 0;
      machine.draining = rng.Below(8) == 0;
      fleet.Put(WorkerId(StrCat("w", i)), machine);
    }
    const Shape shape{.machines = static_cast<std::int64_t>(1 + rng.Below(4)), .ranks = static_cast<std::int64_t>(1 + rng.Below(4))};
    const std::optional<ScoredGang> found = FindGang(fleet, shape, "");
    const std::int64_t fewest = FewestMachines(fleet, shape);
    ASSERT_EQ(found.has_value(), fewest != 0) << "seed " << seed;
    if (!found.has_value()) continue;
    EXPECT_EQ(static_cast<std::int64_t>(found->gang.members.size()), fewest) << "seed " << seed;
    EXPECT_EQ(found->score.machines, fewest);
    std::int64_t slots = 0;
    std::set<WorkerId> workers;
    for (const domain::GangMember& member : found->gang.members) {
      const Machine& machine = *fleet.Find(member.worker);
      EXPECT_TRUE(PassesFilters(machine, shape));
      EXPECT_TRUE(workers.insert(member.worker).second);
      EXPECT_EQ(member.slots.size() % static_cast<std::size_t>(shape.ranks), 0U);
      for (const std::int32_t slot : member.slots) EXPECT_FALSE(machine.busy[static_cast<std::size_t>(slot)]);
      slots += static_cast<std::int64_t>(member.slots.size());
    }
    EXPECT_EQ(slots, shape.Slots());
  }
}

}  // namespace
}  // namespace entrain::scheduler
