#include "coordinator/server/core_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
  std::unique_ptr<CoreLoop> MakeLoop(store::Journal* journal) {
    auto loop = std::make_unique<CoreLoop>(journal, core::CoreConfig{}, &clock_, &published_, nullptr);
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
