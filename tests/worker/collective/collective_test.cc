#include "worker/collective/collective.h"

#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include "base/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace entrain::collective {
namespace {

// Runs the rank program under mpirun; its exit code, with the output for the message.
int RunRanks(const std::string& mode, int ranks, std::string* output) {
  const std::string log = testing::TempDir() + "collective-" + SystemIdSource().Next(10);
  ::setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
  ::setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
  const std::string command = std::string(ENTRAIN_MPIRUN) + " --bind-to none --oversubscribe -np " +
                              std::to_string(ranks) + " " + ENTRAIN_BIN_DIR + "/collective_rank " + mode + " " +
                              std::to_string(ranks) + " >" + log + " 2>&1";
  const int status = std::system(command.c_str());
  std::stringstream text;
  text << std::ifstream(log).rdbuf();
  *output = text.str();
  std::remove(log.c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

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
  EXPECT_EQ(RunRanks("check", GetParam(), &output), 0) << output;
}
INSTANTIATE_TEST_SUITE_P(Worlds, MpiRanksTest, testing::Values(1, 2, 3));

TEST(MpiAbortTest, AbortOfOneRankEndsAll) {
  std::string output;
  EXPECT_EQ(RunRanks("abort", 2, &output), 75) << output;
}

}  // namespace
}  // namespace entrain::collective
