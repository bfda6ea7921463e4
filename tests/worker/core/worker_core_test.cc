#include "worker/core/worker_core.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.h"

namespace entrain::worker {
namespace {

using domain::AttemptEnd;
using domain::AttemptKey;
using domain::EndCause;
using domain::StopMode;
using testing::ElementsAre;
using testing::IsEmpty;

const AttemptKey kFirst{RunId("r1"), 1};
const AttemptKey kSecond{RunId("r1"), 2};

domain::LaunchAttempt LaunchOf(const AttemptKey& key) {
  domain::LaunchAttempt launch;
  launch.worker = WorkerId("w1");
  launch.key = key;
  return launch;
}
domain::StopAttempt StopOf(const AttemptKey& key, StopMode mode = StopMode::kCheckpoint) {
  return {WorkerId("w1"), key, mode, "asked"};
}
AttemptEnd EndOf(EndCause cause, std::int64_t step = 10) { return {.cause = cause, .last_step = step}; }

// What was done, in short words.
std::vector<std::string> Words(const std::vector<WorkerAction>& actions) {
  std::vector<std::string> words;
  for (const WorkerAction& action : actions) {
    if (const auto* start = std::get_if<StartAttempt>(&action)) words.push_back("start " + start->launch.key.ToString());
    if (const auto* stop = std::get_if<SendStop>(&action)) words.push_back("stop " + stop->key.ToString());
    if (const auto* kill = std::get_if<KillAttempt>(&action)) words.push_back("kill " + kill->key.ToString());
    if (const auto* drop = std::get_if<DropAttempt>(&action)) words.push_back("drop " + drop->key.ToString());
    if (const auto* report = std::get_if<SendReport>(&action)) {
      std::string word = std::to_string(NumberOf(report->report)) + " " + KeyOf(report->report).ToString() + " ";
      if (std::holds_alternative<domain::AttemptStarted>(report->report)) word += "started";
      if (std::holds_alternative<domain::CheckpointPublished>(report->report)) word += "checkpoint";
      if (const auto* ended = std::get_if<domain::AttemptEnded>(&report->report)) word += ToString(ended->end.cause);
      words.push_back(word);
    }
  }
  return words;
}

class WorkerCoreTest : public testing::Test {
 protected:
  std::vector<std::string> On(const WorkerEvent& event) { return Words(core_.On(event, now_ms_)); }

  std::int64_t now_ms_ = 1'000;
  WorkerCore core_{WorkerId("w1"), 100};
};

TEST_F(WorkerCoreTest, ReportsTheLifeOfAnAttemptAndDropsItWhenAllHasArrived) {
  EXPECT_THAT(On(Connected{}), IsEmpty());
  EXPECT_THAT(On(Launched{LaunchOf(kFirst)}), ElementsAre("start r1.1"));
  EXPECT_THAT(On(GangUp{kFirst}), ElementsAre("100 r1.1 started"));
  EXPECT_THAT(On(CheckpointReady{kFirst, {.attempt = 1, .step = 5, .path = "p"}}), ElementsAre("101 r1.1 checkpoint"));
  EXPECT_THAT(On(SupervisorEnded{kFirst, EndOf(EndCause::kCompleted)}), ElementsAre("102 r1.1 completed"));
  EXPECT_THAT(core_.LiveAttempts(), IsEmpty());
  EXPECT_THAT(core_.HelloAttempts(), ElementsAre(kFirst));
  EXPECT_THAT(On(ReportAcknowledged{100}), IsEmpty());
  EXPECT_THAT(On(ReportAcknowledged{102}), IsEmpty());
  EXPECT_THAT(On(EventsDelivered{kFirst}), IsEmpty());
  EXPECT_THAT(On(ReportAcknowledged{101}), ElementsAre("drop r1.1"));
  EXPECT_THAT(core_.HelloAttempts(), IsEmpty());
}

TEST_F(WorkerCoreTest, SendsEveryUnacknowledgedReportAgainAfterAReconnect) {
  On(Connected{});
  On(Launched{LaunchOf(kFirst)});
  On(GangUp{kFirst});
  On(ReportAcknowledged{100});
  On(Disconnected{});
  EXPECT_THAT(On(CheckpointReady{kFirst, {.attempt = 1, .step = 5, .path = "p"}}), IsEmpty());
  EXPECT_THAT(On(SupervisorEnded{kFirst, EndOf(EndCause::kCrashed)}), IsEmpty());
  EXPECT_THAT(On(Connected{}), ElementsAre("101 r1.1 checkpoint", "102 r1.1 crashed"));
  EXPECT_THAT(On(Connected{}), ElementsAre("101 r1.1 checkpoint", "102 r1.1 crashed"));
}

TEST_F(WorkerCoreTest, DoesACommandOnce) {
  On(Connected{});
  On(Launched{LaunchOf(kFirst)});
  EXPECT_THAT(On(Launched{LaunchOf(kFirst)}), IsEmpty());
  On(GangUp{kFirst});
  EXPECT_THAT(On(StopAsked{StopOf(kFirst)}), ElementsAre("stop r1.1"));
  EXPECT_THAT(On(StopAsked{StopOf(kFirst)}), IsEmpty());
  EXPECT_THAT(On(StopAsked{StopOf(kFirst, StopMode::kNow)}), ElementsAre("stop r1.1")) << "a stronger stop";
  EXPECT_THAT(On(SupervisorEnded{kFirst, EndOf(EndCause::kStopped)}), ElementsAre("101 r1.1 stopped"));
  EXPECT_THAT(On(SupervisorEnded{kFirst, EndOf(EndCause::kStopped)}), IsEmpty());
}

TEST_F(WorkerCoreTest, AStopBeforeTheGangIsUpKillsAndCountsAsStopped) {
  On(Connected{});
  On(Launched{LaunchOf(kFirst)});
  EXPECT_THAT(On(StopAsked{StopOf(kFirst)}), ElementsAre("kill r1.1"));
  EXPECT_THAT(On(SupervisorEnded{kFirst, EndOf(EndCause::kCrashed, 0)}), ElementsAre("100 r1.1 stopped"));
}

TEST_F(WorkerCoreTest, AStopThatIsNotObeyedKills) {
  On(Connected{});
  On(Launched{LaunchOf(kFirst)});
  On(GangUp{kFirst});
  On(StopAsked{StopOf(kFirst)});
  now_ms_ += 119'999;
  EXPECT_THAT(On(Ticked{}), IsEmpty());
  now_ms_ += 1;
  EXPECT_THAT(On(Ticked{}), ElementsAre("kill r1.1"));
  EXPECT_THAT(On(Ticked{}), IsEmpty());
  now_ms_ += 10'000;
  EXPECT_THAT(On(Ticked{}), ElementsAre("kill r1.1"));
}

TEST_F(WorkerCoreTest, AStopThatOvertakesItsLaunchWins) {
  On(Connected{});
  EXPECT_THAT(On(StopAsked{StopOf(kFirst)}), ElementsAre("100 r1.1 stopped"));
  EXPECT_THAT(On(Launched{LaunchOf(kFirst)}), IsEmpty());
  On(ReportAcknowledged{100});
  EXPECT_THAT(On(Launched{LaunchOf(kFirst)}), ElementsAre("101 r1.1 fenced"));
}

TEST_F(WorkerCoreTest, ASuccessorEndsItsPredecessor) {
  On(Connected{});
  On(Launched{LaunchOf(kFirst)});
  EXPECT_THAT(On(Launched{LaunchOf(kSecond)}), ElementsAre("kill r1.1", "start r1.2"));
  EXPECT_THAT(On(SupervisorEnded{kFirst, EndOf(EndCause::kCrashed)}), ElementsAre("100 r1.1 fenced"));
  EXPECT_THAT(On(ReportAcknowledged{100}), ElementsAre("drop r1.1")) << "its samples count for nothing";
  EXPECT_THAT(On(Launched{LaunchOf(kFirst)}), ElementsAre("101 r1.1 fenced")) << "a late launch starts nothing";
  EXPECT_THAT(core_.LiveAttempts(), ElementsAre(kSecond));
}

TEST_F(WorkerCoreTest, WhatIsForgottenIsKilledAndReported) {
  On(Connected{});
  On(Launched{LaunchOf(kFirst)});
  EXPECT_THAT(On(ForgetAsked{kFirst}), ElementsAre("kill r1.1"));
  EXPECT_THAT(On(ForgetAsked{kFirst}), IsEmpty());
  EXPECT_THAT(On(CheckpointReady{kFirst, {.attempt = 1, .step = 5, .path = "p"}}), IsEmpty());
  EXPECT_THAT(On(SupervisorEnded{kFirst, EndOf(EndCause::kStopped)}), ElementsAre("100 r1.1 fenced"));
  EXPECT_THAT(On(ForgetAsked{kSecond}), ElementsAre("101 r1.2 fenced")) << "it never was here";
  EXPECT_THAT(On(ForgetAsked{kSecond}), IsEmpty());
}

TEST_F(WorkerCoreTest, RefusedSamplesEndTheirAttempt) {
  On(Connected{});
  On(Launched{LaunchOf(kFirst)});
  EXPECT_THAT(On(SamplesFenced{kFirst}), ElementsAre("kill r1.1"));
  EXPECT_THAT(On(SamplesFenced{kSecond}), IsEmpty());
}

TEST_F(WorkerCoreTest, ALostLeaseEndsNothingUntilTheIsolationLimit) {
  On(Connected{});
  On(LeaseRenewed{15'000});
  EXPECT_TRUE(core_.HoldsLease(now_ms_));
  On(Launched{LaunchOf(kFirst)});
  On(GangUp{kFirst});
  On(Disconnected{});
  now_ms_ += 16'000;
  EXPECT_FALSE(core_.HoldsLease(now_ms_));
  EXPECT_THAT(On(Ticked{}), IsEmpty());
  now_ms_ += 24LL * 3600 * 1000;
  EXPECT_THAT(On(Ticked{}), ElementsAre("stop r1.1"));
}

TEST_F(WorkerCoreTest, ADrainStopsEverythingAtACheckpoint) {
  On(Connected{});
  On(Launched{LaunchOf(kFirst)});
  On(GangUp{kFirst});
  EXPECT_THAT(On(DrainAsked{true, false, "maintenance"}), IsEmpty());
  EXPECT_TRUE(core_.draining());
  EXPECT_THAT(On(DrainAsked{true, true, "the daemon ends"}), ElementsAre("stop r1.1"));
  EXPECT_THAT(On(Launched{LaunchOf({RunId("r2"), 1})}), ElementsAre("101 r2.1 stopped"));
}

TEST_F(WorkerCoreTest, ARestartedDaemonReportsWhatItFinds) {
  Restored restored;
  restored.attempts.push_back({.key = kFirst, .started = true, .end = EndOf(EndCause::kCompleted), .published = {{.attempt = 1, .step = 9, .path = "p"}}});
  restored.attempts.push_back({.key = {RunId("r2"), 4}, .started = false, .end = {}, .published = {}});
  EXPECT_THAT(On(restored), IsEmpty()) << "not connected yet";
  EXPECT_THAT(core_.HelloAttempts(), ElementsAre(kFirst, (AttemptKey{RunId("r2"), 4})));
  EXPECT_THAT(On(Connected{}), ElementsAre("100 r1.1 started", "101 r1.1 checkpoint", "102 r1.1 completed"));
  EXPECT_THAT(On(Launched{LaunchOf({RunId("r2"), 4})}), IsEmpty()) << "it lives";
}

// Random commands and happenings: an attempt starts at most once, nothing happens to it after its drop, and numbers only grow.
TEST(WorkerCoreRandom, KeepsItsPromises) {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    Rng rng(seed, 9);
    WorkerCore core(WorkerId("w1"), 1);
    std::int64_t now_ms = 0;
    std::set<AttemptKey> started;
    std::set<AttemptKey> dropped;
    std::set<std::uint64_t> reported;
    const auto check = [&](const std::vector<WorkerAction>& actions) {
      for (const WorkerAction& action : actions) {
        if (const auto* start = std::get_if<StartAttempt>(&action)) {
          EXPECT_TRUE(started.insert(start->launch.key).second) << seed;
        }
        if (const auto* stop = std::get_if<SendStop>(&action)) {
          EXPECT_FALSE(dropped.contains(stop->key)) << seed;
        }
        if (const auto* kill = std::get_if<KillAttempt>(&action)) {
          EXPECT_FALSE(dropped.contains(kill->key)) << seed;
        }
        if (const auto* drop = std::get_if<DropAttempt>(&action)) {
          EXPECT_TRUE(dropped.insert(drop->key).second) << seed;
        }
        if (const auto* report = std::get_if<SendReport>(&action)) reported.insert(NumberOf(report->report));
      }
    };
    for (int i = 0; i < 200; ++i) {
      now_ms += static_cast<std::int64_t>(rng.Below(5'000));
      const AttemptKey key{RunId("r" + std::to_string(rng.Below(2))), static_cast<AttemptNumber>(1 + rng.Below(4))};
      const WorkerEvent events[] = {Connected{}, Disconnected{}, Launched{LaunchOf(key)}, StopAsked{StopOf(key)}, ForgetAsked{key},
                                    ReportAcknowledged{rng.Below(40)}, GangUp{key}, CheckpointReady{key, {.attempt = key.attempt}},
                                    SupervisorEnded{key, EndOf(EndCause::kCrashed)}, EventsDelivered{key}, SamplesFenced{key}, Ticked{},
                                    Launched{LaunchOf(key)}};
      check(core.On(events[rng.Below(std::size(events))], now_ms));
    }
    // The faults stop: every attempt ends, every report is taken, and nothing is left.
    check(core.On(Connected{}, now_ms));
    for (const AttemptKey& key : core.LiveAttempts()) check(core.On(SupervisorEnded{key, EndOf(EndCause::kStopped)}, now_ms));
    for (std::uint64_t number = 0; number < core.next_report(); ++number) check(core.On(ReportAcknowledged{number}, now_ms));
    for (const AttemptKey& key : started) check(core.On(EventsDelivered{key}, now_ms));
    EXPECT_THAT(core.HelloAttempts(), IsEmpty()) << seed;
    EXPECT_EQ(started, dropped) << seed;
  }
}

// A part of a gang whose head is another worker: no gang of its own comes up here.
TEST_F(WorkerCoreTest, APartIsStoppedThroughItsRanksAndItsEndIsToldAgainWhenTheCoordinatorAsks) {
  On(Connected{});
  domain::LaunchAttempt part = LaunchOf(kFirst);
  part.gang.members = {{WorkerId("w0"), {0}}, {WorkerId("w1"), {0}}};
  EXPECT_THAT(On(Launched{part}), ElementsAre("start r1.1"));
  EXPECT_THAT(core_.HelloAttempts(), ElementsAre(kFirst));
  EXPECT_THAT(On(DrainAsked{.draining = true, .stop_attempts = true, .reason = "drain"}), ElementsAre("stop r1.1"));
  EXPECT_THAT(On(SupervisorEnded{kFirst, EndOf(EndCause::kStopped)}), ElementsAre("100 r1.1 stopped"));
  EXPECT_THAT(On(ReportAcknowledged{100}), IsEmpty());
  // Its gang was lost as a whole, later: until now that report freed nothing.
  EXPECT_THAT(On(ForgetAsked{kFirst}), ElementsAre("101 r1.1 stopped"));
  EXPECT_THAT(On(ReportAcknowledged{101}), ElementsAre("drop r1.1"));
}

}  // namespace
}  // namespace entrain::worker
