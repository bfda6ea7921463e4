#include "worker/collective/collective.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/collective/run_ranks.h"

namespace entrain::collective {
namespace {

TEST(SingleCollectiveTest, ChangesNothing) {
  auto collective = MakeCollective("single");
  ASSERT_TRUE(collective.ok());
  EXPECT_EQ((*collective)->rank(), 0);
  EXPECT_EQ((*collective)->world_size(), 1);
  float values[2] = {1.5f, -2.0f};
  EXPECT_TRUE((*collective)->AllReduceSum(values, 2)->Wait().ok());
  EXPECT_TRUE((*collective)->AllReduceMax(values, 2).ok());
  EXPECT_TRUE((*collective)->Barrier().ok());
  EXPECT_EQ(values[0], 1.5f);
  EXPECT_EQ(values[1], -2.0f);
}

TEST(CollectiveTest, UnknownBackEndNamesTheKnownOnes) {
  const absl::Status status = MakeCollective("gossip").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("'gossip'; known are single, mpi and nccl"));
}

class MpiRanksTest : public testing::TestWithParam<int> {};

TEST_P(MpiRanksTest, SumsInRankOrderBitForBit) {
  std::string output;
  EXPECT_EQ(RunRanks("collective_rank", "check " + std::to_string(GetParam()), GetParam(), &output), 0) << output;
}
INSTANTIATE_TEST_SUITE_P(Worlds, MpiRanksTest, testing::Values(1, 2, 3));

TEST(MpiAbortTest, AbortOfOneRankEndsAll) {
  std::string output;
  EXPECT_EQ(RunRanks("collective_rank", "abort 2", 2, &output), 75) << output;
}

}  // namespace
}  // namespace entrain::collective
