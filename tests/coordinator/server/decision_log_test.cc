#include "coordinator/server/decision_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace entrain::server {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string LineOf(decltype(domain::Fact::body) body) {
  ::testing::internal::CaptureStderr();
  LogDecision({0, 0, std::move(body)});
  return ::testing::internal::GetCapturedStderr();
}

TEST(DecisionLogTest, ARunsLifeCanBeFollowedByItsIds) {
  const domain::AttemptKey key{RunId("r1"), 7};
  for (const std::string& line : {LineOf(domain::RunPlaced{key, {{{WorkerId("w1"), {0, 1}}, {WorkerId("w2"), {3}}}}, {}}), LineOf(domain::RunStarted{key}),
                                  LineOf(domain::StopDecided{key, domain::StopKind::kCancel, "ada said so"}),
                                  LineOf(domain::VerdictRecorded{RunId("r1"), {.attempt = 7, .rule = "collapse.trend"}}),
                                  LineOf(domain::AttemptClosed{key, {.cause = domain::EndCause::kCrashed}}), LineOf(domain::AttemptReclaimed{key})}) {
    EXPECT_THAT(line, HasSubstr(" run=r1 attempt=7")) << line;
  }
  EXPECT_THAT(LineOf(domain::RunPlaced{key, {{{WorkerId("w1"), {0, 1}}, {WorkerId("w2"), {3}}}}, {}}), HasSubstr("machines=\"w1/2 w2/1\""));
  EXPECT_THAT(LineOf(domain::AttemptClosed{key, {.cause = domain::EndCause::kCrashed, .message = "rank 1"}}), HasSubstr("WARNING"));
  for (const std::string& line : {LineOf(domain::RunRequeued{RunId("r1"), domain::FailureClass::kNone, false, "its machine is silent"}),
                                  LineOf(domain::RunFinished{RunId("r1"), domain::RunState::kSucceeded})}) {
    EXPECT_THAT(line, HasSubstr(" run=r1")) << line;
  }
}

TEST(DecisionLogTest, WhatNobodyFollowsIsNotWritten) {
  EXPECT_THAT(LineOf(domain::WorkerHeard{WorkerId("w1"), true}), IsEmpty());
  EXPECT_THAT(LineOf(domain::ProgressHeard{RunId("r1")}), IsEmpty());
}

}  // namespace
}  // namespace entrain::server
