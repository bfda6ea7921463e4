#include "proto/journal.h"

#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace entrain::journal {
namespace {

using domain::AttemptKey;
using domain::Event;
using domain::Fact;

domain::SweepSpec SomeSweep() {
  domain::RunSpec run;
  run.cell = CellId("c1");
  run.label = "SM+G seed=2";
  run.variant = "SM+G";
  run.axes = {{"seed", "2"}};
  run.config_json = "{\"version\":1}";
  run.resources = {2, 3, 4};
  run.steps = 500;
  run.n_layer = 6;
  run.n_head = 4;
  run.context = 64;
  run.parameters = 99'000;
  run.dataset = {"stdlib", "0123456789abcdef"};
  using domain::RuleAction;
  run.health.preset = domain::HealthPreset::kEager;
  run.health.collapse = {false, RuleAction::kPause, 0.07, false, 0.2, 3, 40, 0.11, 4, 0.06, 17, 0.13};
  run.health.non_finite = {false, RuleAction::kStop};
  run.health.overload = {false, RuleAction::kStop, 0.8, 0.9, 11, 0.4};
  run.health.spike = {false, RuleAction::kPause, 6.0, 0.7, 4, 60};
  run.health.divergence = {false, RuleAction::kRescue, 1.5, 25, 35, 0.2};
  run.health.plateau = {true, RuleAction::kStopAndKeep, 0.02, 70, 600, 0.3};
  run.health.max_score = {false, RuleAction::kStop, 1e5, 12, 0.06};
  run.retries = {5, true};
  run.limits = {3600, 60};
  run.early_stopping = {domain::Halving::kSync, domain::RungMetric::kTrainLoss, 40, 4, 7};
  domain::RunSpec rescue = run;
  rescue.label += " (rescue)";
  run.rescue = {rescue};
  domain::SweepSpec sweep;
  sweep.name = "quickstart";
  sweep.owner = "ada";
  sweep.yaml = "name: quickstart\n";
  sweep.priority = 3;
  sweep.max_concurrent_runs = 2;
  sweep.early_stopping = {domain::Halving::kAsync, domain::RungMetric::kEvalLoss, 30, 3, 9};
  sweep.runs = {run, domain::RunSpec{}};
  return sweep;
}

domain::Verdict SomeVerdict() {
  return {2, 150, domain::HaltReason::kCollapse, "collapse.whole_layer", {4, 5}, {100, 150}, {0.04, 0.03}, 0.05, "layer 1",
          domain::RuleAction::kRescue, {1, 3}};
}

const AttemptKey kKey{RunId("r1"), 2};
const domain::Checkpoint kCheckpoint{2, 100, "checkpoints/r1/2/step-100", 1234, "abcd", 80};
const domain::AttemptEnd kEnd{domain::EndCause::kOutOfMemory, 42, "rank 0", 137, 2.5, 7};
const domain::WorkerInfo kInfo{WorkerId("w1"), "node", "v1", domain::SlotKind::kGpu, 8, "H100", "node:7071"};

std::vector<Fact> OneOfEveryFact() {
  const domain::Gang gang{{{WorkerId("w1"), {0, 1}}}};
  std::vector<Fact> facts;
  const auto add = [&](auto body) { facts.push_back({static_cast<std::int64_t>(facts.size()) + 5, 1'700'000'000'000, body}); };
  add(domain::SweepAdmitted{SweepId("s1"), "key", SomeSweep()});
  add(domain::RunRetried{RunId("r1"), RunId("r2"), "ada"});
  add(domain::WorkerRegistered{kInfo, 9});
  add(domain::WorkerSilent{WorkerId("w1")});
  add(domain::WorkerDraining{WorkerId("w1"), true});
  add(domain::RunPlaced{kKey, gang, kCheckpoint});
  add(domain::RunStarted{kKey});
  add(domain::CheckpointRecorded{RunId("r1"), kCheckpoint});
  add(domain::StopDecided{kKey, domain::StopKind::kPause, "asked by ada"});
  add(domain::VerdictRecorded{RunId("r1"), SomeVerdict()});
  add(domain::AttemptClosed{kKey, kEnd});
  add(domain::RunRequeued{RunId("r1"), domain::FailureClass::kLostMachine, true, "w1 lost", 77});
  add(domain::RunPaused{RunId("r1"), "asked"});
  add(domain::RunResumed{RunId("r1"), "ada"});
  add(domain::RunFinished{RunId("r1"), domain::RunState::kHalted, domain::HaltReason::kCollapse, domain::FailureClass::kCrash,
                          "collapse", 150, false});
  add(domain::WaitReasonChanged{RunId("r1"), true, "needs 9 slots"});
  add(domain::MemberReleased{kKey, WorkerId("w1")});
  add(domain::AttemptReclaimed{kKey});
  add(domain::RunRescued{RunId("r1"), RunId("r3"), kCheckpoint});
  add(domain::RunAged{RunId("r1"), "waited"});
  add(domain::RunReserved{RunId("r1"), {WorkerId("w1"), WorkerId("w2")}, "preempts"});
  add(domain::WorkerQuarantined{WorkerId("w1"), "launches fail", 88});
  add(domain::WorkerReleased{WorkerId("w1"), "by ada"});
  add(domain::WorkerForgotten{WorkerId("w1"), "ada"});
  add(domain::CheckpointsRetired{RunId("r1"), {kCheckpoint, kCheckpoint}, "older than the newest 5"});
  add(domain::SweepReleased{SweepId("s1"), "ada"});
  add(domain::AttemptFloorRaised{1'000'000, "restored"});
  add(domain::RungRecorded{RunId("r1"), 2, 90, 3.25});
  add(domain::RungDecided{RunId("r1"), 2, domain::RungOutcome::kPruned, "place 3 of 3"});
  return facts;
}

std::vector<Event> OneOfEveryEvent() {
  std::vector<Event> events;
  const auto add = [&](auto body) { events.push_back({static_cast<std::int64_t>(events.size()) + 5, 99, body}); };
  add(domain::SubmitSweep{7, SweepId("s1"), "key", SomeSweep()});
  add(domain::ActOnRun{8, RunId("r1"), domain::RunAction::kResume, "ada"});
  add(domain::RetryRun{9, RunId("r1"), "ada"});
  add(domain::WorkerJoined{kInfo, 4, {kKey}});
  add(domain::WorkerHeartbeat{WorkerId("w1"), true});
  add(domain::WorkerDisconnected{WorkerId("w1"), 4});
  add(domain::AttemptStarted{WorkerId("w1"), 11, kKey});
  add(domain::AttemptEnded{WorkerId("w1"), 12, kKey, kEnd});
  add(domain::CheckpointPublished{WorkerId("w1"), 13, kKey, kCheckpoint});
  add(domain::VerdictReached{RunId("r1"), SomeVerdict()});
  add(domain::RunJudged{kKey, 500});
  add(domain::RungReached{kKey, 1, 30, 2.5});
  add(domain::RunProgressed{kKey});
  add(domain::ActOnWorker{10, WorkerId("w1"), domain::WorkerAction::kForget, "ada", "fan"});
  add(domain::RetireCheckpoints{RunId("r1"), {{2, 100}, {3, 200}}, "older"});
  add(domain::ReleaseSweep{14, SweepId("s1"), "ada"});
  add(domain::StoreRestored{7, {{RunId("r1"), 120}}, "restored"});
  add(domain::Tick{});
  return events;
}

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
