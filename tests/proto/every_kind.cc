#include "tests/proto/every_kind.h"

namespace entrain::journal {

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

}  // namespace entrain::journal
