// Machines that an engine can add make a run possible and nothing more: no plan counts on them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/scheduler/placement.h"
#include "coordinator/scheduler/plan.h"

namespace entrain::scheduler {
namespace {

Fleet FleetOf(std::vector<std::int32_t> machines) {
  Fleet fleet;
  fleet.SetElastic({{"small", 2, 4}, {"large", 8, 2}});
  for (std::size_t i = 0; i < machines.size(); ++i) {
    Machine machine;
    machine.machine_class = {.pool = {domain::SlotKind::kCpu, "cpu"}, .slots = machines[i]};
    machine.busy.assign(static_cast<std::size_t>(machines[i]), false);
    machine.free = machines[i];
    machine.connected = true;
    fleet.Put(WorkerId("w" + std::to_string(i)), machine);
  }
  return fleet;
}

TEST(Elastic, TheFirstPoolThatCouldHoldAGangIsNamed) {
  const Fleet fleet = FleetOf({});
  ASSERT_NE(fleet.ElasticFor({1, 2}), nullptr);
  EXPECT_EQ(fleet.ElasticFor({1, 2})->pool, "small");
  EXPECT_EQ(fleet.ElasticFor({4, 2})->pool, "small");
  EXPECT_EQ(fleet.ElasticFor({5, 2})->pool, "large");
  EXPECT_EQ(fleet.ElasticFor({1, 8})->pool, "large");
  EXPECT_EQ(fleet.ElasticFor({1, 9}), nullptr);
  EXPECT_EQ(fleet.ElasticFor({3, 8}), nullptr);
  EXPECT_EQ(Fleet().ElasticFor({1, 1}), nullptr);
}

TEST(Elastic, WhatOnlyAPoolCouldHoldIsNotNow) {
  const Fleet fleet = FleetOf({1});
  const WaitReason waits = ExplainFit(fleet, {1, 4});
  EXPECT_FALSE(waits.never);
  EXPECT_EQ(waits.text, "needs 4 slots on one machine; no machine here could hold it; the pool large may add machines of 8 slots, 2 at most");
  EXPECT_TRUE(ExplainFit(fleet, {1, 9}).never);
  EXPECT_EQ(ExplainFit(fleet, {1, 1}).text, "");
  EXPECT_EQ(ExplainFit(FleetOf({}), {1, 1}).text,
            "needs 1 slot; no worker has joined yet; the pool small may add machines of 2 slots, 4 at most");
}

TEST(Elastic, NothingIsPlannedOnMachinesThatAreNotThere) {
  const Fleet fleet = FleetOf({1});
  EXPECT_FALSE(CouldEverFit(fleet, {1, 2}));
  EXPECT_FALSE(FindGang(fleet, {1, 2}, "").has_value());
  EXPECT_TRUE(MachinesToKeep(fleet, {1, 2}).empty());
}

}  // namespace
}  // namespace entrain::scheduler
