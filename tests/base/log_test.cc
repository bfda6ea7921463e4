#include "base/log_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace entrain {
namespace {

TEST(LogTest, TextQuotesWhatNeedsIt) {
  EXPECT_EQ(LogLine(LogFormat::kText, "T", LogLevel::kInfo, "worker", "attempt ended", {{"run", "r1"}, {"attempt", "3"}, {"reason", "out of \"memory\""}}),
            R"(T INFO worker attempt ended run=r1 attempt=3 reason="out of \"memory\"")");
}

TEST(LogTest, JsonIsOneObjectALine) {
  EXPECT_EQ(LogLine(LogFormat::kJson, "T", LogLevel::kError, "worker", "kill", {{"run", "r1"}, {"reason", "a\"b\\c\nd\x01"}}),
            R"({"time":"T","level":"ERROR","program":"worker","message":"kill","run":"r1","reason":"a\"b\\c\u000ad\u0001"})");
}

TEST(LogTest, AStampIsOnEveryLine) {
  StampLog({{"run", "r1"}, {"rank", "2"}});
  ::testing::internal::CaptureStderr();
  Log(LogLevel::kError, "hung step", {{"reason", "NCCL"}});
  StampLog({});
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), ::testing::EndsWith(" ERROR entrain hung step reason=NCCL run=r1 rank=2\n"));
}

}  // namespace
}  // namespace entrain
