#include "coordinator/scheduler/preemption.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/strings.h"

namespace entrain::scheduler {
namespace {

Victim MakeVictim(const std::string& run, std::int64_t priority, std::int64_t slots, std::int64_t ran_ms) {
  return {RunId(run), priority, slots, ran_ms};
}
Occupied MakeOccupied(const std::string& id, std::int64_t free, std::int64_t ending, std::vector<Victim> victims) {
  return {WorkerId(id), {domain::SlotKind::kCpu, "cpu"}, free, ending, std::move(victims)};
}
std::string TextOf(const std::optional<Preemption>& preemption) {
  if (!preemption) return "never";
  std::string text;
  for (const RunId& run : preemption->victims) StrAppend(&text, run.value(), " ");
  StrAppend(&text, "on");
  for (const WorkerId& worker : preemption->machines) StrAppend(&text, " ", worker.value());
  return text;
}

TEST(ChoosePreemption, StopsTheLowestPriorityThenTheFewestThenTheYoungest) {
  const std::vector<Occupied> machines = {
      MakeOccupied("a", 0, 0, {MakeVictim("a1", 3, 2, 10), MakeVictim("a2", 3, 2, 5)}),
      MakeOccupied("b", 0, 0, {MakeVictim("b1", 1, 1, 900), MakeVictim("b2", 1, 1, 800), MakeVictim("b3", 2, 2, 1)}),
      MakeOccupied("c", 0, 0, {MakeVictim("c1", 1, 2, 9'000)}),
  };
  EXPECT_EQ(TextOf(ChoosePreemption(machines, {1, 2})), "c1 on c");
  EXPECT_EQ(TextOf(ChoosePreemption(machines, {1, 1})), "b2 on b");
  EXPECT_EQ(TextOf(ChoosePreemption(machines, {1, 4})), "b2 b1 b3 on b");
  EXPECT_EQ(TextOf(ChoosePreemption(machines, {1, 5})), "never");
}

TEST(ChoosePreemption, WaitsForWhatIsEndingAnyway) {
  const std::vector<Occupied> machines = {MakeOccupied("a", 1, 1, {MakeVictim("a1", 0, 2, 10)}), MakeOccupied("b", 0, 0, {MakeVictim("b1", 0, 4, 1)})};
  EXPECT_EQ(TextOf(ChoosePreemption(machines, {1, 2})), "on a");
  EXPECT_EQ(TextOf(ChoosePreemption(machines, {1, 4})), "b1 on b");
}

TEST(ChoosePreemption, TakesSeveralMachinesWhenOneIsNotEnough) {
  const std::vector<Occupied> machines = {MakeOccupied("a", 2, 0, {MakeVictim("a1", 0, 2, 10)}), MakeOccupied("b", 0, 0, {MakeVictim("b1", 0, 2, 1)})};
  EXPECT_EQ(TextOf(ChoosePreemption(machines, {3, 2})), "a1 b1 on a b");
  EXPECT_EQ(TextOf(ChoosePreemption(machines, {4, 2})), "never");
}

TEST(ChoosePreemption, EmptiesNoMachineForAPartOfAGangThatItCannotShare) {
  std::vector<Occupied> machines = {MakeOccupied("a", 0, 0, {MakeVictim("a1", 0, 2, 1)}), MakeOccupied("b", 2, 0, {})};
  EXPECT_EQ(TextOf(ChoosePreemption(machines, {2, 2})), "a1 on b a");
  machines[0].has_peers = false;
  EXPECT_EQ(TextOf(ChoosePreemption(machines, {2, 2})), "never");
  EXPECT_EQ(TextOf(ChoosePreemption(machines, {2, 1})), "on b");
}

}  // namespace
}  // namespace entrain::scheduler
