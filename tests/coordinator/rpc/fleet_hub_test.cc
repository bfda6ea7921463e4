#include "coordinator/rpc/fleet_hub.h"

#include <gtest/gtest.h>

#include "coordinator/core/core.h"
#include "coordinator/rpc/limits.h"

namespace entrain::rpc {
namespace {

const WorkerId kWorker("w1");

class FleetHubTest : public testing::Test {
 protected:
  std::shared_ptr<WorkerConnection> Connect(std::uint64_t incarnation) {
    auto connection = hub_.Connect(kWorker, incarnation, [this] { ++cancelled_; });
    EXPECT_TRUE(connection.ok()) << connection.status();
    return connection.ok() ? *connection : nullptr;
  }
  samples::PublishedState published_;
  FleetHub hub_{&published_};
  int cancelled_ = 0;
};

TEST_F(FleetHubTest, EffectsReachTheWorkersStream) {
  const auto connection = Connect(1);
  hub_.Send(domain::StopAttempt{kWorker, {RunId("r1"), 2}, domain::StopMode::kNow, "why"});
  hub_.Send(domain::AcknowledgeReport{kWorker, 9});
  hub_.Send(domain::AcknowledgeReport{WorkerId("elsewhere"), 1});
  const auto stop = connection->Next();
  ASSERT_TRUE(stop.has_value());
  EXPECT_EQ(stop->stop().key().run_id(), "r1");
  EXPECT_FALSE(stop->stop().checkpoint());
  EXPECT_EQ(connection->Next()->acknowledged().report(), 9U);
}

// A state in which w1, connected as incarnation 1, heads an attempt.
domain::LaunchAttempt Place(core::State* state) {
  const auto apply = [state](auto body) { core::Apply(state, domain::Fact{0, 0, std::move(body)}); };
  domain::SweepAdmitted admitted{.sweep = SweepId("s1"), .idempotency_key = "k"};
  admitted.spec.runs.resize(1);
  admitted.spec.runs[0].cell = CellId("c1");
  const domain::AttemptKey key{domain::MakeRunId(admitted.sweep, admitted.spec.runs[0].cell, 1), 1};
  const domain::Gang gang{{{kWorker, {0}}}};
  apply(admitted);
  apply(domain::WorkerRegistered{{.id = kWorker, .name = "host1", .slots = 1}, 1});
  apply(domain::RunPlaced{key, gang, {}});
  return {kWorker, key, gang, state->FindRun(key.run)->spec, {}};
}

TEST_F(FleetHubTest, ALaunchGoesToTheStreamThatItWasDecidedFor) {
  core::State state{core::CoreConfig{}};
  const domain::LaunchAttempt launch = Place(&state);
  published_.Publish(std::make_shared<core::State>(state));
  const auto first = Connect(1);
  hub_.Send(launch);
  EXPECT_EQ(first->Next()->launch().key().run_id(), launch.key.run.value());
  // It connects anew while the launch becomes durable: it says that it has none, and the core will have closed the attempt by then.
  const auto second = Connect(2);
  hub_.Send(launch);
  hub_.Send(domain::AcknowledgeReport{kWorker, 1});
  EXPECT_TRUE(second->Next()->has_acknowledged());
}

TEST_F(FleetHubTest, ALaunchOfAnAttemptThatIsOverIsNotSent) {
  core::State state{core::CoreConfig{}};
  const domain::LaunchAttempt launch = Place(&state);
  core::Apply(&state, domain::Fact{0, 0, domain::AttemptClosed{launch.key, {}}});
  published_.Publish(std::make_shared<core::State>(state));
  const auto connection = Connect(1);
  hub_.Send(launch);
  hub_.Send(domain::AcknowledgeReport{kWorker, 1});
  EXPECT_TRUE(connection->Next()->has_acknowledged());
}

TEST_F(FleetHubTest, ANewerConnectionEndsTheOlderOne) {
  const auto older = Connect(1);
  const auto newer = Connect(2);
  EXPECT_EQ(cancelled_, 1);
  EXPECT_FALSE(older->Next().has_value());
  EXPECT_EQ(hub_.Connect(kWorker, 2, [] {}).status().code(), absl::StatusCode::kAlreadyExists);
  // The older one's end takes nothing from the newer.
  hub_.Disconnect(kWorker, older);
  hub_.Send(domain::AcknowledgeReport{kWorker, 3});
  EXPECT_TRUE(newer->Next().has_value());
}

TEST_F(FleetHubTest, AWorkerThatDoesNotReadLosesItsStream) {
  const auto connection = Connect(1);
  for (std::size_t i = 0; i <= kMaxQueuedWorkerMessages; ++i) hub_.Send(domain::AcknowledgeReport{kWorker, i});
  EXPECT_EQ(cancelled_, 1);
  EXPECT_FALSE(connection->Next().has_value());
}

TEST_F(FleetHubTest, AHandlerThatLeftIsNotCancelled) {
  const auto connection = Connect(1);
  connection->Detach();
  hub_.Close();
  EXPECT_EQ(cancelled_, 0);
  EXPECT_EQ(hub_.Connect(kWorker, 5, [] {}).status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace entrain::rpc
