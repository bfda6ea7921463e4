#include "coordinator/pool/board.h"

#include <gtest/gtest.h>

namespace entrain::pool {
namespace {

using State = PoolMachine::State;

PoolStatus Status() {
  return {.limits = {.name = "hpc", .shape = {domain::SlotKind::kCpu, 8}, .min_machines = 0, .max_machines = 4},
          .engine = "slurm",
          .listed = true,
          .machines = {{"1", "1", "w1", State::kUp, ""}, {"2", "2", "w2", State::kPending, "Resources"}, {"3", "3", "w3", State::kPending, "Resources"}},
          .doing = "waits for 2 machines",
          .problem = ""};
}

TEST(BoardTest, SaysHowManyMayComeAndWhyTheyDoNot) {
  EXPECT_EQ(Sentence(Status()), "the pool hpc may still add 1 machine of 8 slots; 2 are pending (Resources); it waits for 2 machines");
}

TEST(BoardTest, SaysWhatTheEngineRefused) {
  PoolStatus status = Status();
  status.machines.clear();
  status.doing = "asks again for 2 machines in 5 s";
  status.problem = "sbatch says: Invalid account";
  EXPECT_EQ(Sentence(status),
            "the pool hpc may still add 4 machines of 8 slots; it asks again for 2 machines in 5 s; slurm: sbatch says: Invalid account");
  status.listed = false;
  EXPECT_EQ(Sentence(status), "the pool hpc: slurm has not answered yet: sbatch says: Invalid account");
}

TEST(BoardTest, KnowsWhatItsMachinesCouldHold) {
  const PoolLimits limits = Status().limits;
  EXPECT_TRUE(ElasticOf(limits).CouldHold({1, 8}));
  EXPECT_FALSE(ElasticOf(limits).CouldHold({1, 9}));
  EXPECT_TRUE(ElasticOf(limits).CouldHold({8, 4}));
  EXPECT_FALSE(ElasticOf(limits).CouldHold({9, 4}));
}

TEST(BoardTest, EveryReaderSeesWhatWasPublishedLast) {
  PoolBoard board;
  EXPECT_TRUE(board.Get().empty());
  board.Publish({Status()});
  ASSERT_EQ(board.Get().size(), 1u);
  EXPECT_EQ(CountIn(board.Get()[0], State::kPending), 2);
}

}  // namespace
}  // namespace entrain::pool
