#include "coordinator/server/decision_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace entrain::server {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

// What is written for the fact.
std::string Written(decltype(domain::Fact::body) body) {
  ::testing::internal::CaptureStderr();
  DecisionLog().Add({0, 0, std::move(body)});
  return ::testing::internal::GetCapturedStderr();
}

TEST(DecisionLogTest, ARunsLifeCanBeFollowedByItsIds) {
  const domain::AttemptKey key{RunId("r1"), 7};
  for (const std::string& line : {Written(domain::RunPlaced{key, {{{WorkerId("w1"), {0, 1}}, {WorkerId("w2"), {3}}}}, {}}), Written(domain::RunStarted{key}),
                                  Written(domain::StopDecided{key, domain::StopKind::kCancel, "ada said so"}),
                                  Written(domain::VerdictRecorded{RunId("r1"), {.attempt = 7, .rule = "collapse.trend"}}),
                                  Written(domain::AttemptClosed{key, {.cause = domain::EndCause::kCrashed}}), Written(domain::AttemptReclaimed{key})}) {
    EXPECT_THAT(line, HasSubstr(" run=r1 attempt=7")) << line;
  }
  EXPECT_THAT(Written(domain::RunPlaced{key, {{{WorkerId("w1"), {0, 1}}, {WorkerId("w2"), {3}}}}, {}}), HasSubstr("machines=\"w1/2 w2/1\""));
  EXPECT_THAT(Written(domain::AttemptClosed{key, {.cause = domain::EndCause::kCrashed, .message = "rank 1"}}), HasSubstr("WARNING"));
  for (const std::string& line : {Written(domain::RunRequeued{RunId("r1"), domain::FailureClass::kNone, false, "its machine is silent"}),
                                  Written(domain::RunFinished{RunId("r1"), domain::RunState::kSucceeded})}) {
    EXPECT_THAT(line, HasSubstr(" run=r1")) << line;
  }
}

TEST(DecisionLogTest, WhatNobodyFollowsIsNotWritten) {
  EXPECT_THAT(Written(domain::WorkerHeard{WorkerId("w1"), true}), IsEmpty());
  EXPECT_THAT(Written(domain::ProgressHeard{RunId("r1")}), IsEmpty());
}

}  // namespace
}  // namespace entrain::server
