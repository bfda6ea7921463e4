#include "proto/journal.h"

#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/proto/every_kind.h"

namespace entrain::journal {
namespace {

using domain::AttemptKey;
using domain::Event;
using domain::Fact;

TEST(JournalTest, EveryKindOfFactSurvives) {
  const std::vector<Fact> facts = OneOfEveryFact();
  constexpr std::size_t kTransient = 3;
  ASSERT_EQ(facts.size() + kTransient, std::variant_size_v<decltype(Fact::body)>);
  for (const Fact& fact : facts) {
    const auto back = DecodeFact(EncodeFact(fact));
    ASSERT_TRUE(back.ok()) << KindOf(fact) << ": " << back.status();
    EXPECT_EQ(back->body.index(), fact.body.index());
    EXPECT_EQ(back->at_ms, fact.at_ms);
    EXPECT_EQ(back->wall_ms, fact.wall_ms);
    EXPECT_EQ(EncodeFact(*back), EncodeFact(fact)) << KindOf(fact);
  }
}

TEST(JournalTest, EveryKindOfEventSurvives) {
  const std::vector<Event> events = OneOfEveryEvent();
  ASSERT_EQ(events.size(), std::variant_size_v<decltype(Event::body)>);
  for (const Event& event : events) {
    const auto back = DecodeEvent(EncodeEvent(event));
    ASSERT_TRUE(back.ok()) << KindOf(event) << ": " << back.status();
    EXPECT_EQ(back->body.index(), event.body.index());
    EXPECT_EQ(back->at_ms, event.at_ms);
    EXPECT_EQ(EncodeEvent(*back), EncodeEvent(event)) << KindOf(event);
  }
}

template <typename Body>
Body Back(Body body) {
  return std::get<Body>(DecodeFact(EncodeFact({1, 2, std::move(body)}))->body);
}

TEST(JournalTest, FieldsOfFactsArriveWhereTheyLeft) {
  EXPECT_EQ(Back(domain::SweepAdmitted{SweepId("s1"), "key", SomeSweep()}).spec, SomeSweep());
  EXPECT_EQ(Back(domain::SweepAdmitted{SweepId("s1"), "key", SomeSweep()}).idempotency_key, "key");
  EXPECT_EQ(Back(domain::RunRetried{RunId("r1"), RunId("r2"), "ada"}).run, RunId("r2"));
  EXPECT_EQ(Back(domain::WorkerRegistered{kInfo, 9}).info, kInfo);
  EXPECT_EQ(Back(domain::WorkerRegistered{kInfo, 9}).incarnation, 9U);
  EXPECT_TRUE(Back(domain::WorkerDraining{WorkerId("w1"), true}).draining);
  const domain::RunPlaced placed = Back(domain::RunPlaced{kKey, {{{WorkerId("w1"), {0, 1}}}}, kCheckpoint});
  EXPECT_EQ(placed.key, kKey);
  EXPECT_EQ(placed.gang, (domain::Gang{{{WorkerId("w1"), {0, 1}}}}));
  EXPECT_EQ(placed.resume_from, kCheckpoint);
  EXPECT_EQ(Back(domain::MemberReleased{kKey, WorkerId("w1")}).worker, WorkerId("w1"));
  EXPECT_EQ(Back(domain::MemberReleased{kKey, WorkerId("w1")}).key, kKey);
  EXPECT_EQ(Back(domain::AttemptReclaimed{kKey}).key, kKey);
  const auto retired = Back(domain::CheckpointsRetired{RunId("r1"), {kCheckpoint}, "older"});
  EXPECT_EQ(retired.run, RunId("r1"));
  ASSERT_EQ(retired.checkpoints.size(), 1U);
  EXPECT_EQ(retired.checkpoints.front(), kCheckpoint);
  EXPECT_EQ(retired.reason, "older");
  EXPECT_EQ(Back(domain::SweepReleased{SweepId("s1"), "ada"}).by, "ada");
  EXPECT_EQ(Back(domain::AttemptFloorRaised{1'000'000, "restored"}).floor, 1'000'000U);
  const auto rescued = Back(domain::RunRescued{RunId("r1"), RunId("r3"), kCheckpoint});
  EXPECT_EQ(rescued.previous, RunId("r1"));
  EXPECT_EQ(rescued.run, RunId("r3"));
  EXPECT_EQ(rescued.from, kCheckpoint);
  EXPECT_EQ(Back(domain::VerdictRecorded{RunId("r1"), SomeVerdict()}).verdict, SomeVerdict());
  EXPECT_EQ(Back(domain::AttemptClosed{kKey, kEnd}).end, kEnd);
  for (const auto kind : {domain::StopKind::kHalt, domain::StopKind::kCancel, domain::StopKind::kPause, domain::StopKind::kPreempt,
                          domain::StopKind::kStall, domain::StopKind::kTimeLimit, domain::StopKind::kRung}) {
    EXPECT_EQ(Back(domain::StopDecided{kKey, kind, "why"}).kind, kind);
  }
  EXPECT_TRUE(Back(domain::RunPaused{RunId("r1"), "why", true}).at_rung);
  EXPECT_EQ(Back(domain::RunReserved{RunId("r1"), {WorkerId("w1"), WorkerId("w2")}, "why"}).workers.back(), WorkerId("w2"));
  EXPECT_EQ(Back(domain::WorkerQuarantined{WorkerId("w1"), "why", 88}).until_ms, 88);
  const domain::RungRecorded recorded = Back(domain::RungRecorded{RunId("r1"), 2, 90, 3.25});
  EXPECT_EQ(recorded.rung, 2);
  EXPECT_EQ(recorded.step, 90);
  EXPECT_EQ(recorded.value, 3.25);
  EXPECT_EQ(Back(domain::RungDecided{RunId("r1"), 2, domain::RungOutcome::kHeld, "why"}).outcome, domain::RungOutcome::kHeld);
  const domain::RunRequeued requeued = Back(domain::RunRequeued{RunId("r1"), domain::FailureClass::kLostMachine, true, "why", 77});
  EXPECT_EQ(requeued.failure, domain::FailureClass::kLostMachine);
  EXPECT_TRUE(requeued.counts_as_failure);
  EXPECT_EQ(requeued.not_before_ms, 77);
  const domain::RunFinished finished = Back(domain::RunFinished{
      RunId("r1"), domain::RunState::kHalted, domain::HaltReason::kPlateau, domain::FailureClass::kCrash, "why", 150, false});
  EXPECT_EQ(finished.state, domain::RunState::kHalted);
  EXPECT_EQ(finished.halt_reason, domain::HaltReason::kPlateau);
  EXPECT_EQ(finished.failure, domain::FailureClass::kCrash);
  EXPECT_EQ(finished.reason, "why");
  EXPECT_EQ(finished.result_step, 150);
  EXPECT_FALSE(finished.fully_judged);
}

TEST(JournalTest, DamagedOrForeignBytesAreDataLoss) {
  EXPECT_EQ(DecodeFact("\xff\xff\xff").status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(DecodeFact("").status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(DecodeEvent("").status().code(), absl::StatusCode::kDataLoss);
}

TEST(JournalTest, KindsHaveDistinctNames) {
  EXPECT_EQ(KindOf(OneOfEveryFact()[5]), "run_placed");
  EXPECT_EQ(KindOf(OneOfEveryFact()[15]), "wait_reason_changed");
  EXPECT_EQ(KindOf(OneOfEveryEvent()[0]), "submit_sweep");
  EXPECT_EQ(KindOf(OneOfEveryEvent().back()), "tick");
}

}  // namespace
}  // namespace entrain::journal
