// The NCCL back end on a real GPU: what a single one can show. nccl_collective_test has the gangs and their faults.
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/collective/run_ranks.h"

namespace entrain::collective {
namespace {

constexpr int kNoGpu = 77;

class GpuNcclTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string output;
    if (RunRanks("gpu_nccl_rank", "probe", 1, &output) == kNoGpu) GTEST_SKIP() << "no GPU: CUDA sees no device";
  }
};

TEST_F(GpuNcclTest, AWorldOfOneReducesOnTheDevice) {
  std::string output;
  EXPECT_EQ(RunRanks("gpu_nccl_rank", "check", 1, &output), 0) << output;
}

TEST_F(GpuNcclTest, AbortEndsTheProcess) {
  std::string output;
  EXPECT_EQ(RunRanks("gpu_nccl_rank", "abort", 1, &output), 75) << output;
}

TEST_F(GpuNcclTest, ARankThatNeverJoinsEndsTheGangAtTheLimit) {
  std::string output;
  EXPECT_EQ(RunRanks("gpu_nccl_rank", "absent", 2, &output), 75) << output;
  EXPECT_THAT(output, testing::HasSubstr("join NCCL"));
}

}  // namespace
}  // namespace entrain::collective
