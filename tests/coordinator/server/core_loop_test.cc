#include "coordinator/server/core_loop.h"

#include <chrono>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/strings.h"
#include "coordinator/store/faulty_store.h"

namespace entrain::server {
namespace {

domain::SubmitSweep SomeSweep(domain::RequestId request, const std::string& key) {
  domain::SubmitSweep event;
  event.request = request;
  event.proposed_id = SweepId("s" + key);
  event.idempotency_key = key;
  event.spec.name = "small";
  event.spec.owner = "ada";
  domain::RunSpec run;
  run.cell = CellId("c1");
  run.label = "SM";
  run.steps = 10;
  run.n_layer = run.n_head = 1;
  run.context = 16;
  event.spec.runs = {run};
  return event;
}

class CoreLoopTest : public testing::Test {
 protected:
  std::unique_ptr<CoreLoop> MakeLoop(store::Journal* journal, std::int64_t snapshot_every_facts = kSnapshotEveryFacts) {
    auto loop = std::make_unique<CoreLoop>(journal, core::CoreConfig{}, &clock_, &published_, nullptr, snapshot_every_facts);
    EXPECT_TRUE(loop->Recover().ok());
    return loop;
  }
  CoreLoop::EffectSink Sink() {
    return [this](const domain::Effect& effect) { effects_.push_back(effect); };
  }

  ManualClock clock_;
  samples::PublishedState published_;
  std::vector<domain::Effect> effects_;
  std::unique_ptr<store::Store> store_ = store::MakeMemoryStore();
};

TEST_F(CoreLoopTest, AnAnswerLeavesOnlyAfterItsFactsAreStored) {
  const auto loop = MakeLoop(store_.get());
  ASSERT_TRUE(loop->Step({SomeSweep(1, "a")}, Sink()).ok());
  ASSERT_EQ(effects_.size(), 1U);
  EXPECT_TRUE(std::get<domain::Reply>(effects_[0]).status.ok());
  EXPECT_EQ(published_.Get()->sweeps.size(), 1U);
  std::int64_t facts = 0;
  ASSERT_TRUE(store_->Replay([&](const domain::Fact&) { ++facts; }).ok());
  EXPECT_GT(facts, 0);
}

TEST_F(CoreLoopTest, AFailedCommitLetsNothingOut) {
  for (const store::Fault fault : {store::Fault::kRefused, store::Fault::kUnknown, store::Fault::kTorn}) {
    const auto inner = store::MakeMemoryStore();
    const auto faulty = store::MakeFaultyStore(inner.get(), {.fail_commit = 1, .fault = fault});
    effects_.clear();
    const auto loop = MakeLoop(faulty.get());
    EXPECT_FALSE(loop->Step({SomeSweep(1, "a")}, Sink()).ok());
    EXPECT_TRUE(effects_.empty());
    EXPECT_TRUE(published_.Get()->sweeps.empty());
  }
}

TEST_F(CoreLoopTest, ARestartGivesTheSameStateAndTimeGoesOn) {
  clock_.Advance(5'000);
  const auto first = MakeLoop(store_.get());
  clock_.Advance(1'000);
  ASSERT_TRUE(first->Step({SomeSweep(1, "a"), SomeSweep(2, "b")}, Sink()).ok());
  const auto before = published_.Get();
  EXPECT_EQ(before->at_ms, 1'000);
  clock_.Advance(60'000);
  const auto second = MakeLoop(store_.get());
  EXPECT_TRUE(core::SameStored(*before, *published_.Get()));
  clock_.Advance(7);
  ASSERT_TRUE(second->Step({SomeSweep(3, "c")}, Sink()).ok());
  EXPECT_EQ(published_.Get()->at_ms, 1'007);
}

TEST_F(CoreLoopTest, TheSameKeyInOneBatchGivesOneSweep) {
  const auto loop = MakeLoop(store_.get());
  domain::SubmitSweep again = SomeSweep(2, "a");
  again.proposed_id = SweepId("sother");
  ASSERT_TRUE(loop->Step({SomeSweep(1, "a"), again}, Sink()).ok());
  ASSERT_EQ(effects_.size(), 2U);
  EXPECT_EQ(std::get<domain::Reply>(effects_[1]).id, "sa");
  EXPECT_EQ(published_.Get()->sweeps.size(), 1U);
}

// A process that dies here, between any two steps, comes back with the state that was published.
void ExpectRecoversTo(const core::State& state, store::Journal* journal) {
  core::State rebuilt{core::CoreConfig{}};
  ASSERT_TRUE(journal->Replay([&](const domain::Fact& fact) { core::Apply(&rebuilt, fact); }).ok());
  EXPECT_TRUE(core::SameStored(rebuilt, state));
  EXPECT_TRUE(core::BrokenInvariants(rebuilt).empty());
}

TEST_F(CoreLoopTest, WithSnapshotsEveryStepRecoversToTheSameState) {
  for (const std::int64_t failing : {0, 1, 2}) {
    for (const store::Fault fault : {store::Fault::kRefused, store::Fault::kUnknown, store::Fault::kTorn}) {
      const auto inner = store::MakeMemoryStore();
      const auto faulty = store::MakeFaultyStore(inner.get(), {.fail_snapshot = failing, .fault = fault});
      const auto loop = MakeLoop(faulty.get(), 4);
      std::int64_t facts = 0;
      std::int64_t snapshots = 0;
      // Compaction takes its own time: Ticks until three were written.
      const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
      for (int i = 0; snapshots < 3; ++i) {
        ASSERT_LT(std::chrono::steady_clock::now(), deadline) << facts << " facts, " << snapshots << " snapshots";
        const std::int64_t since = inner->FactsSinceSnapshot();
        std::vector<EventBody> bodies{domain::Tick{}};
        if (facts < 400) bodies.emplace_back(SomeSweep(0, StrCat(i)));
        facts += facts < 400 ? 2 : 0;
        domain::WorkerInfo info{.id = WorkerId("w1"), .name = "host", .version = "1", .slots = 1, .device = "cpu"};
        bodies.emplace_back(domain::WorkerJoined{info, static_cast<std::uint64_t>(i + 1), {}});
        ASSERT_TRUE(loop->Step(std::move(bodies), Sink()).ok());
        if (inner->FactsSinceSnapshot() < since) ++snapshots;
        ExpectRecoversTo(*published_.Get(), inner.get());
        if (HasFatalFailure() || HasNonfatalFailure()) return;
      }
      const auto before = published_.Get();
      MakeLoop(inner.get());
      EXPECT_TRUE(core::SameStored(*before, *published_.Get()));
    }
  }
}

TEST_F(CoreLoopTest, ACleanEndLeavesASnapshotOfEverything) {
  const auto loop = MakeLoop(store_.get());
  EventQueue queue(10);
  ASSERT_TRUE(queue.Post(SomeSweep(1, "a")).ok());
  queue.Close();
  ASSERT_TRUE(loop->Run(&queue, Sink()).ok());
  EXPECT_EQ(store_->FactsSinceSnapshot(), 0);
  ExpectRecoversTo(*published_.Get(), store_.get());
}

TEST_F(CoreLoopTest, RunEndsOnceTheQueueIsClosedAndEmpty) {
  const auto loop = MakeLoop(store_.get());
  EventQueue queue(10);
  ASSERT_TRUE(queue.Post(SomeSweep(1, "a")).ok());
  queue.Close();
  EXPECT_FALSE(queue.Post(SomeSweep(2, "b")).ok());
  ASSERT_TRUE(loop->Run(&queue, Sink()).ok());
  EXPECT_EQ(published_.Get()->sweeps.size(), 1U);
}

}  // namespace
}  // namespace entrain::server
