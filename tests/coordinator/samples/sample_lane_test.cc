#include "coordinator/samples/sample_lane.h"

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/strings.h"
#include "coordinator/core/core.h"
#include "coordinator/store/faulty_store.h"

namespace entrain::samples {
namespace {

using testing::ElementsAre;

constexpr std::int64_t kContext = 16;
constexpr float kHealthyNats = 1.2F;
constexpr float kCollapsedNats = 0.001F;

// A run of 200 steps with one layer of two heads, under the default rules.
class SampleLaneTest : public testing::Test {
 protected:
  void SetUp() override {
    domain::SweepAdmitted admitted;
    admitted.sweep = SweepId("s1");
    admitted.idempotency_key = "key";
    admitted.spec.name = "small";
    domain::RunSpec spec;
    spec.cell = CellId("c1");
    spec.label = "SM";
    spec.steps = 200;
    spec.n_layer = 1;
    spec.n_head = 2;
    spec.context = kContext;
    admitted.spec.runs = {spec};
    run_ = domain::MakeRunId(admitted.sweep, spec.cell, 1);
    Apply(admitted);
    Apply(domain::WorkerRegistered{{WorkerId("w1"), "host", "v", domain::SlotKind::kCpu, 2, "cpu"}, 1});
    Open(store_.get());
  }
  void Open(store::SampleStore* store) {
    lane_.reset();
    LaneHooks hooks;
    hooks.emit = [this](EventBody event) {
      std::lock_guard<std::mutex> lock(mutex_);
      events_.push_back(std::move(event));
      arrived_.notify_all();
    };
    hooks.fatal = [this](const absl::Status& status) {
      std::lock_guard<std::mutex> lock(mutex_);
      fatal_ = status;
      arrived_.notify_all();
    };
    lane_ = std::make_unique<SampleLane>(store, &published_, std::move(hooks), LaneOptions{.shards = 2, .max_waiting_batches = 4});
  }
  template <typename Body>
  void Apply(const Body& body) {
    core::Apply(&state_, domain::Fact{1, 1, body});
    published_.Publish(std::make_shared<core::State>(state_));
  }
  void Begin(AttemptNumber attempt, std::int64_t resume_step) {
    domain::Checkpoint from;
    if (resume_step > 0) from = {attempt - 1, resume_step, "checkpoints/x", 1, "h"};
    Apply(domain::RunPlaced{{run_, attempt}, {{{WorkerId("w1"), {0}}}}, from});
    Apply(domain::RunStarted{{run_, attempt}});
    lane_->Handle(domain::BeginAttempt{{run_, attempt}, resume_step});
  }
  void Lose(AttemptNumber attempt) {
    Apply(domain::AttemptClosed{{run_, attempt}, {domain::EndCause::kCrashed, 0, "", 1, 0.0, 0}});
    Apply(domain::RunRequeued{run_, domain::FailureClass::kCrash, true, "crash"});
  }
  absl::StatusOr<Stored> Store(AttemptNumber attempt, std::int64_t first, std::int64_t last, float nats) {
    Batch batch;
    batch.key = {run_, attempt};
    for (std::int64_t step = first; step <= last; ++step) {
      domain::EntropySample sample;
      sample.step = step;
      sample.loss = 3.0;
      sample.entropy_nats = {nats, nats};
      sample.max_abs_score = {1.0F};
      batch.samples.push_back(sample);
    }
    return lane_->Store(std::move(batch));
  }
  bool Await(const std::function<bool()>& condition) {
    std::unique_lock<std::mutex> lock(mutex_);
    return arrived_.wait_for(lock, std::chrono::seconds(10), condition);
  }
  // The next verdict, judged or nothing.
  template <typename Body>
  std::optional<Body> Next() {
    if (!Await([this] { return !events_.empty(); })) return std::nullopt;
    std::lock_guard<std::mutex> lock(mutex_);
    const EventBody event = events_.front();
    events_.erase(events_.begin());
    const Body* body = std::get_if<Body>(&event);
    return body == nullptr ? std::nullopt : std::optional<Body>(*body);
  }
  bool AwaitStep(std::int64_t step) {
    for (int i = 0; i < 1000; ++i) {
      const auto progress = lane_->ProgressOf(run_);
      if (progress && progress->latest.step == step) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }

  core::State state_;
  PublishedState published_;
  RunId run_;
  std::unique_ptr<store::Store> store_ = store::MakeMemoryStore();
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<EventBody> events_;
  absl::Status fatal_;
  std::unique_ptr<SampleLane> lane_;
};

TEST_F(SampleLaneTest, StoresJudgesAndSaysWhenAllIsJudged) {
  Begin(1, 0);
  EXPECT_EQ(*Store(1, 1, 10, kHealthyNats), Stored::kStored);
  lane_->Handle(domain::JudgeThrough{{run_, 1}, 12});
  EXPECT_EQ(*Store(1, 11, 12, kHealthyNats), Stored::kStored);
  const auto judged = Next<domain::RunJudged>();
  ASSERT_TRUE(judged.has_value());
  EXPECT_EQ(judged->through_step, 12);
  EXPECT_EQ(judged->key, (domain::AttemptKey{run_, 1}));
  EXPECT_EQ(store_->ReadSamples(run_, kContext, 0, 100)->size(), 12U);
  EXPECT_TRUE(AwaitStep(12));
}

TEST_F(SampleLaneTest, AVerdictComesOnceAndNamesItsStep) {
  Begin(1, 0);
  ASSERT_TRUE(Store(1, 1, 30, kCollapsedNats).ok());
  ASSERT_TRUE(Store(1, 31, 120, kCollapsedNats).ok());
  const auto verdict = Next<domain::VerdictReached>();
  ASSERT_TRUE(verdict.has_value());
  EXPECT_EQ(verdict->verdict.step, 51);
  EXPECT_EQ(verdict->verdict.attempt, 1U);
  EXPECT_TRUE(AwaitStep(120));
  EXPECT_TRUE(events_.empty());
}

TEST_F(SampleLaneTest, ABatchSentTwiceIsJudgedOnce) {
  Begin(1, 0);
  ASSERT_TRUE(Store(1, 1, 40, kCollapsedNats).ok());
  ASSERT_TRUE(Store(1, 1, 40, kCollapsedNats).ok());
  ASSERT_TRUE(Store(1, 20, 60, kCollapsedNats).ok());
  const auto verdict = Next<domain::VerdictReached>();
  ASSERT_TRUE(verdict.has_value());
  EXPECT_THAT(verdict->verdict.steps, ElementsAre(1, 51));
}

TEST_F(SampleLaneTest, AReplacedAttemptIsFencedAndItsLaterSamplesForgotten) {
  Begin(1, 0);
  ASSERT_TRUE(Store(1, 1, 40, kCollapsedNats).ok());
  EXPECT_TRUE(AwaitStep(40));
  Lose(1);
  Begin(2, 0);
  EXPECT_EQ(*Store(1, 41, 60, kCollapsedNats), Stored::kFenced);
  ASSERT_TRUE(Store(2, 1, 60, kHealthyNats).ok());
  lane_->Handle(domain::JudgeThrough{{run_, 2}, 60});
  // Healthy from the start: what the first attempt measured is replaced.
  const auto judged = Next<domain::RunJudged>();
  ASSERT_TRUE(judged.has_value());
  EXPECT_EQ(judged->key.attempt, 2U);
}

TEST_F(SampleLaneTest, ASuccessorContinuesTheJudgementOfItsPredecessor) {
  Begin(1, 0);
  ASSERT_TRUE(Store(1, 1, 40, kCollapsedNats).ok());
  Lose(1);
  Begin(2, 30);
  ASSERT_TRUE(Store(2, 31, 60, kCollapsedNats).ok());
  const auto verdict = Next<domain::VerdictReached>();
  ASSERT_TRUE(verdict.has_value());
  EXPECT_EQ(verdict->verdict.step, 51);
  EXPECT_EQ(verdict->verdict.attempt, 2U);
}

TEST_F(SampleLaneTest, AfterARestartTheStoredSamplesGiveTheSameVerdict) {
  Begin(1, 0);
  ASSERT_TRUE(Store(1, 1, 60, kCollapsedNats).ok());
  const auto before = Next<domain::VerdictReached>();
  ASSERT_TRUE(before.has_value());
  Open(store_.get());
  lane_->Handle(domain::BeginAttempt{{run_, 1}, 0});
  const auto after = Next<domain::VerdictReached>();
  ASSERT_TRUE(after.has_value());
  EXPECT_EQ(after->verdict, before->verdict);
}

TEST_F(SampleLaneTest, AfterARestartAPendingJudgementIsAnswered) {
  Begin(1, 0);
  ASSERT_TRUE(Store(1, 1, 60, kHealthyNats).ok());
  Open(store_.get());
  lane_->Handle(domain::BeginAttempt{{run_, 1}, 0});
  lane_->Handle(domain::JudgeThrough{{run_, 1}, 60});
  EXPECT_TRUE(Next<domain::RunJudged>().has_value());
}

TEST_F(SampleLaneTest, SamplesThatDoNotFitTheRunAreRefused) {
  Begin(1, 0);
  EXPECT_EQ(Store(1, 1, 201, kHealthyNats).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Store(2, 1, 2, kHealthyNats).status().code(), absl::StatusCode::kFailedPrecondition);
  Batch batch;
  batch.key = {run_, 1};
  batch.samples.resize(1);
  batch.samples[0].step = 1;
  batch.samples[0].entropy_nats = {1.0F};
  EXPECT_EQ(lane_->Store(batch).status().code(), absl::StatusCode::kInvalidArgument);
  batch.key.run = RunId("unknown");
  EXPECT_EQ(*lane_->Store(batch), Stored::kFenced);
}

TEST_F(SampleLaneTest, WhatTheDiskRefusesIsNotAcknowledged) {
  const auto faulty = store::MakeFaultyStore(store_.get(), {.fail_append = 1});
  Open(faulty.get());
  Begin(1, 0);
  EXPECT_EQ(Store(1, 1, 5, kHealthyNats).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(Store(1, 1, 5, kHealthyNats).ok());
  EXPECT_TRUE(AwaitStep(5));
}

}  // namespace
}  // namespace entrain::samples
