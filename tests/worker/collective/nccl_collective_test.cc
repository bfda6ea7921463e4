// The real NCCL back end, its watchdog and its abort, with several processes and no GPU: host_nccl/ stands in for NCCL and CUDA.
#include <chrono>
#include <cstdlib>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/collective/run_ranks.h"

namespace entrain::collective {
namespace {

using testing::HasSubstr;

constexpr int kRetryable = 75;

struct Ended {
  int code = -1;
  std::string output;
};

Ended RunGang(const std::string& mode, int ranks) {
  Ended ended;
  ended.code = RunRanks("host_nccl/nccl_rank", mode + " " + std::to_string(ranks), ranks, &ended.output);
  return ended;
}

class NcclFaultTest : public testing::Test {
 protected:
  ~NcclFaultTest() override {
    for (const char* name : {"ENTRAIN_HOST_NCCL_FAULT", "ENTRAIN_TEST_JOIN_MS", "ENTRAIN_TEST_OPERATION_MS"}) ::unsetenv(name);
  }
  static void Set(const char* name, const std::string& value) { ::setenv(name, value.c_str(), 1); }
};

class NcclRanksTest : public testing::TestWithParam<int> {};

TEST_P(NcclRanksTest, ReducesInOrderOfTheStreams) {
  const Ended ended = RunGang("check", GetParam());
  EXPECT_EQ(ended.code, 0) << ended.output;
}
INSTANTIATE_TEST_SUITE_P(Worlds, NcclRanksTest, testing::Values(1, 2, 4));

// The rank that lost its peer sees it; the third rank, which talks to neither, is ended with them.
TEST_F(NcclFaultTest, ALostPeerEndsTheWholeGang) {
  Set("ENTRAIN_HOST_NCCL_FAULT", "drop:1:2");
  const Ended ended = RunGang("reduce", 3);
  EXPECT_EQ(ended.code, kRetryable) << ended.output;
  EXPECT_THAT(ended.output, HasSubstr("remote process exited or there was a network error"));
}

TEST_F(NcclFaultTest, AnErrorOfOneRankEndsTheWholeGang) {
  Set("ENTRAIN_HOST_NCCL_FAULT", "error:2:0");
  const Ended ended = RunGang("reduce", 4);
  EXPECT_EQ(ended.code, kRetryable) << ended.output;
  EXPECT_THAT(ended.output, HasSubstr("internal error: planted error"));
}

// No error anywhere: only the limit tells.
TEST_F(NcclFaultTest, AnOperationThatHangsEndsAtItsLimit) {
  Set("ENTRAIN_HOST_NCCL_FAULT", "hang:1:5");
  Set("ENTRAIN_TEST_OPERATION_MS", "1000");
  const Ended ended = RunGang("reduce", 2);
  EXPECT_EQ(ended.code, kRetryable) << ended.output;
  EXPECT_THAT(ended.output, HasSubstr("an operation has not ended within 1000 ms"));
}

TEST_F(NcclFaultTest, AFrozenRankEndsTheGangAtTheLimit) {
  Set("ENTRAIN_TEST_OPERATION_MS", "1000");
  const Ended ended = RunGang("freeze", 2);
  EXPECT_EQ(ended.code, kRetryable) << ended.output;
  EXPECT_THAT(ended.output, HasSubstr("an operation has not ended within 1000 ms"));
}

TEST_F(NcclFaultTest, ARankThatNeverJoinsEndsTheGangAtTheLimit) {
  Set("ENTRAIN_HOST_NCCL_FAULT", "absent:1");
  Set("ENTRAIN_TEST_JOIN_MS", "1000");
  const Ended ended = RunGang("reduce", 3);
  EXPECT_EQ(ended.code, kRetryable) << ended.output;
  EXPECT_THAT(ended.output, HasSubstr("join NCCL: NCCL did not answer in time"));
}

TEST_F(NcclFaultTest, AbortOfOneRankEndsAllWhileTheyReduce) {
  const Ended ended = RunGang("abort", 3);
  EXPECT_EQ(ended.code, kRetryable) << ended.output;
}

TEST_F(NcclFaultTest, WithoutAFaultTheReductionsComeBack) {
  Set("ENTRAIN_TEST_OPERATION_MS", "20000");
  const Ended ended = RunGang("reduce", 2);
  EXPECT_EQ(ended.code, 3) << ended.output;
}

}  // namespace
}  // namespace entrain::collective
