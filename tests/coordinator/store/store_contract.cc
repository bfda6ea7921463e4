#include "store_contract.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <thread>

#include <gmock/gmock.h>

#include "base/strings.h"
#include "proto/journal.h"

namespace entrain::store {
namespace {

using ::testing::ElementsAre;

domain::Fact Requeued(const std::string& run, std::int64_t at_ms) {
  return {at_ms, at_ms + 1000, domain::RunRequeued{RunId(run), domain::FailureClass::kCrash, true, "why"}};
}
domain::Event TickAt(std::int64_t at_ms) { return {at_ms, at_ms + 1000, domain::Tick{}}; }

StoredSample SampleAt(AttemptNumber attempt, std::int64_t step, float entropy = 1.0F) {
  StoredSample stored;
  stored.attempt = attempt;
  stored.sample.step = step;
  stored.sample.loss = 4.0 - 0.01 * static_cast<double>(step);
  stored.sample.tokens = step * 64;
  stored.sample.entropy_nats = {entropy, 2.0F};
  stored.sample.max_abs_score = {3.5F};
  return stored;
}

constexpr std::int64_t kContext = 64;
constexpr std::int64_t kAll = 1'000'000;
const RunId kRun("r1");

}  // namespace

void StoreTest::SetUp() {
  const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
  std::string name = info->name();
  std::replace(name.begin(), name.end(), '/', '_');
  dir_ = StrCat(::testing::TempDir(), "/store_", name);
  std::filesystem::remove_all(dir_);
  std::filesystem::create_directories(dir_);
  Open();
}

void StoreTest::TearDown() {
  store_.reset();
  beneath_.reset();
  std::filesystem::remove_all(dir_);
}

void StoreTest::Open() {
  OpenedStore opened = GetParam().open(dir_);
  if (opened.store == nullptr) GTEST_SKIP() << "this kind of store is not installed";
  beneath_ = std::move(opened.beneath);
  store_ = std::move(opened.store);
}

void StoreTest::Reopen() {
  if (!GetParam().outlives_closing) return;
  store_.reset();
  beneath_.reset();
  Open();
}

std::vector<std::string> StoreTest::Replayed() {
  std::vector<std::string> kinds;
  const absl::Status status = store_->Replay([&](const domain::Fact& fact) {
    const auto* requeued = std::get_if<domain::RunRequeued>(&fact.body);
    kinds.push_back(requeued == nullptr ? std::string(journal::KindOf(fact)) : requeued->run.value());
  });
  EXPECT_TRUE(status.ok()) << status;
  return kinds;
}

std::vector<std::pair<AttemptNumber, std::int64_t>> StoreTest::CurrentSteps(std::int64_t after, std::int64_t limit) {
  std::vector<std::pair<AttemptNumber, std::int64_t>> steps;
  const auto samples = store_->ReadSamples(kRun, kContext, after, limit);
  EXPECT_TRUE(samples.ok()) << samples.status();
  for (const StoredSample& stored : *samples) steps.emplace_back(stored.attempt, stored.sample.step);
  return steps;
}

TEST_P(StoreTest, ANewStoreIsEmpty) {
  EXPECT_THAT(Replayed(), ElementsAre());
  EXPECT_EQ(*store_->LastEventMs(), 0);
  EXPECT_THAT(CurrentSteps(), ElementsAre());
}

TEST_P(StoreTest, FactsComeBackInOrderAfterReopening) {
  ASSERT_TRUE(store_->Commit({TickAt(10)}, {Requeued("a", 10), Requeued("b", 10)}).ok());
  ASSERT_TRUE(store_->Commit({TickAt(20)}, {Requeued("c", 20)}).ok());
  Reopen();
  EXPECT_THAT(Replayed(), ElementsAre("a", "b", "c"));
  EXPECT_EQ(*store_->LastEventMs(), 20);
  ASSERT_TRUE(store_->Commit({TickAt(30)}, {Requeued("d", 30)}).ok());
  EXPECT_THAT(Replayed(), ElementsAre("a", "b", "c", "d"));
}

TEST_P(StoreTest, TransientFactsAreLeftOut) {
  const domain::Fact heard{10, 10, domain::WorkerHeard{WorkerId("w1"), true}};
  ASSERT_TRUE(store_->Commit({}, {heard, Requeued("a", 10), {11, 11, domain::TermStarted{}}}).ok());
  Reopen();
  EXPECT_THAT(Replayed(), ElementsAre("a"));
}

TEST_P(StoreTest, EventsComeBackWithTheirPlaceAmongTheFacts) {
  ASSERT_TRUE(store_->Commit({TickAt(10), TickAt(11)}, {Requeued("a", 10), Requeued("b", 11)}).ok());
  ASSERT_TRUE(store_->Commit({TickAt(20)}, {}).ok());
  Reopen();
  std::vector<std::pair<std::int64_t, std::int64_t>> events;
  ASSERT_TRUE(store_->ReplayEvents([&](const domain::Event& event, std::int64_t facts_before) {
    events.emplace_back(event.at_ms, facts_before);
  }).ok());
  EXPECT_THAT(events, ElementsAre(std::pair(10, 0), std::pair(11, 0), std::pair(20, 2)));
}

TEST_P(StoreTest, ASnapshotStandsForWhatCameBefore) {
  ASSERT_TRUE(store_->Commit({}, {Requeued("a", 1), Requeued("b", 2), Requeued("c", 3)}).ok());
  EXPECT_EQ(store_->FactsSinceSnapshot(), 3);
  ASSERT_TRUE(store_->WriteSnapshot({Requeued("abc", 3)}).ok());
  EXPECT_EQ(store_->FactsSinceSnapshot(), 0);
  ASSERT_TRUE(store_->Commit({}, {Requeued("d", 4)}).ok());
  Reopen();
  EXPECT_EQ(store_->FactsSinceSnapshot(), 1);
  EXPECT_THAT(Replayed(), ElementsAre("abc", "d"));
  ASSERT_TRUE(store_->WriteSnapshot({}).ok());
  ASSERT_TRUE(store_->Commit({}, {Requeued("e", 5)}).ok());
  Reopen();
  EXPECT_THAT(Replayed(), ElementsAre("e"));
}

TEST_P(StoreTest, ALargeSnapshotKeepsItsOrder) {
  std::vector<domain::Fact> facts;
  for (int i = 0; i < 3000; ++i) facts.push_back(Requeued(std::to_string(i), i));
  ASSERT_TRUE(store_->Commit({}, {Requeued("old", 1)}).ok());
  ASSERT_TRUE(store_->WriteSnapshot(facts).ok());
  Reopen();
  const auto replayed = Replayed();
  ASSERT_EQ(replayed.size(), 3000U);
  EXPECT_EQ(replayed[1024], "1024");
  EXPECT_EQ(replayed[2999], "2999");
}

TEST_P(StoreTest, SamplesComeBackAsStored) {
  ASSERT_TRUE(store_->BeginAttempt(kRun, 1, 0).ok());
  StoredSample sample = SampleAt(1, 1, 0.777F);
  sample.sample.reg = 0.25;
  sample.sample.grad_norm = std::numeric_limits<double>::infinity();
  sample.sample.loss = std::numeric_limits<double>::quiet_NaN();
  sample.sample.lr = 1e-3;
  sample.sample.tokens_per_second = 99.5;
  sample.sample.wall_ms = 1234;
  sample.sample.theta = {0.5F, 0.25F};
  ASSERT_TRUE(store_->AppendSamples(kRun, kContext, {sample}, {}).ok());
  Reopen();
  const auto back = store_->ReadSamples(kRun, kContext, 0, kAll);
  ASSERT_TRUE(back.ok()) << back.status();
  ASSERT_EQ(back->size(), 1U);
  const domain::EntropySample& read = back->front().sample;
  EXPECT_TRUE(std::isnan(read.loss));
  EXPECT_EQ(read.grad_norm, sample.sample.grad_norm);
  EXPECT_EQ(read.reg, 0.25);
  EXPECT_EQ(read.lr, 1e-3);
  EXPECT_EQ(read.tokens, 64);
  EXPECT_EQ(read.tokens_per_second, 99.5);
  EXPECT_EQ(read.wall_ms, 1234);
  EXPECT_EQ(read.theta, sample.sample.theta);
  EXPECT_EQ(read.max_abs_score, sample.sample.max_abs_score);
  EXPECT_EQ(read.entropy_nats, AsStored(sample.sample.entropy_nats, kContext));
  EXPECT_NEAR(read.entropy_nats[0], 0.777F, 1e-4F);
}

TEST_P(StoreTest, AStoredSampleIsNeverChanged) {
  ASSERT_TRUE(store_->BeginAttempt(kRun, 1, 0).ok());
  ASSERT_TRUE(store_->AppendSamples(kRun, kContext, {SampleAt(1, 1, 1.0F)}, {}).ok());
  ASSERT_TRUE(store_->AppendSamples(kRun, kContext, {SampleAt(1, 1, 2.0F), SampleAt(1, 2)}, {}).ok());
  const auto samples = store_->ReadSamples(kRun, kContext, 0, kAll);
  ASSERT_EQ(samples->size(), 2U);
  EXPECT_NEAR(samples->front().sample.entropy_nats[0], 1.0F, 1e-3F);
}

TEST_P(StoreTest, ALaterAttemptReplacesStepsAfterItsStart) {
  ASSERT_TRUE(store_->BeginAttempt(kRun, 1, 0).ok());
  ASSERT_TRUE(store_->AppendSamples(kRun, kContext, {SampleAt(1, 1), SampleAt(1, 2), SampleAt(1, 3), SampleAt(1, 4)}, {}).ok());
  ASSERT_TRUE(store_->BeginAttempt(kRun, 2, 2).ok());
  using P = std::pair<AttemptNumber, std::int64_t>;
  EXPECT_THAT(CurrentSteps(), ElementsAre(P(1, 1), P(1, 2)));
  ASSERT_TRUE(store_->AppendSamples(kRun, kContext, {SampleAt(2, 3), SampleAt(2, 4), SampleAt(2, 5)}, {}).ok());
  EXPECT_THAT(CurrentSteps(), ElementsAre(P(1, 1), P(1, 2), P(2, 3), P(2, 4), P(2, 5)));
  // A third one that starts earlier replaces the second whole, also what of it arrives late.
  ASSERT_TRUE(store_->BeginAttempt(kRun, 3, 1).ok());
  ASSERT_TRUE(store_->AppendSamples(kRun, kContext, {SampleAt(2, 6), SampleAt(3, 2)}, {}).ok());
  EXPECT_THAT(CurrentSteps(), ElementsAre(P(1, 1), P(3, 2)));
  EXPECT_THAT(CurrentSteps(1), ElementsAre(P(3, 2)));
  EXPECT_THAT(CurrentSteps(0, 1), ElementsAre(P(1, 1)));
}

TEST_P(StoreTest, TheLastSampleIsTheLastCurrentOne) {
  EXPECT_FALSE(store_->ReadLastSample(kRun, kContext, kAll)->has_value());
  ASSERT_TRUE(store_->BeginAttempt(kRun, 1, 0).ok());
  ASSERT_TRUE(store_->AppendSamples(kRun, kContext, {SampleAt(1, 1), SampleAt(1, 2), SampleAt(1, 3)}, {}).ok());
  EXPECT_EQ((*store_->ReadLastSample(kRun, kContext, kAll))->sample.step, 3);
  EXPECT_EQ((*store_->ReadLastSample(kRun, kContext, 2))->sample.step, 2);
  ASSERT_TRUE(store_->BeginAttempt(kRun, 2, 1).ok());
  EXPECT_EQ((*store_->ReadLastSample(kRun, kContext, kAll))->sample.step, 1);
  EXPECT_FALSE(store_->ReadLastSample(kRun, kContext, 0)->has_value());
}

TEST_P(StoreTest, SamplesOfAnAttemptThatHasNotBegunAreNotCurrent) {
  ASSERT_TRUE(store_->AppendSamples(kRun, kContext, {SampleAt(1, 1)}, {}).ok());
  EXPECT_THAT(CurrentSteps(), ElementsAre());
  ASSERT_TRUE(store_->BeginAttempt(kRun, 1, 0).ok());
  EXPECT_EQ(CurrentSteps().size(), 1U);
}

TEST_P(StoreTest, EvaluationsFollowTheSameRule) {
  ASSERT_TRUE(store_->BeginAttempt(kRun, 1, 0).ok());
  const double nan = std::numeric_limits<double>::quiet_NaN();
  ASSERT_TRUE(store_->AppendSamples(kRun, kContext, {},
                                    {{1, {0, 9.0, 0, 1}}, {1, {100, 5.0, 10, 2}}, {1, {200, 4.0, 20, 3}}, {1, {300, 3.0, 30, 4}}})
                  .ok());
  ASSERT_TRUE(store_->BeginAttempt(kRun, 2, 200).ok());
  ASSERT_TRUE(store_->AppendSamples(kRun, kContext, {}, {{2, {300, nan, 31, 5}}}).ok());
  const auto evaluations = store_->ReadEvaluations(kRun);
  ASSERT_TRUE(evaluations.ok()) << evaluations.status();
  ASSERT_EQ(evaluations->size(), 4U);
  EXPECT_EQ((*evaluations)[0].evaluation.step, 0);
  EXPECT_EQ((*evaluations)[2].evaluation, (domain::Evaluation{200, 4.0, 20, 3}));
  EXPECT_EQ((*evaluations)[3].attempt, 2U);
  EXPECT_TRUE(std::isnan((*evaluations)[3].evaluation.loss));
}

TEST_P(StoreTest, LogLinesAreNumberedOverAllAttempts) {
  ASSERT_TRUE(store_->AppendLog(kRun, 1, {"one", "two"}).ok());
  ASSERT_TRUE(store_->AppendLog(kRun, 2, {"three"}).ok());
  ASSERT_TRUE(store_->AppendLog(kRun, 1, {""}).ok());
  const auto all = store_->ReadLog(kRun, 0, 0, kAll);
  ASSERT_TRUE(all.ok()) << all.status();
  ASSERT_EQ(all->size(), 4U);
  EXPECT_EQ((*all)[2].text, "three");
  EXPECT_EQ((*all)[2].number, 3);
  EXPECT_EQ((*all)[2].attempt, 2U);
  EXPECT_EQ((*all)[3].text, "");
  EXPECT_EQ(store_->ReadLog(kRun, 1, 1, kAll)->size(), 2U);
  EXPECT_EQ(store_->ReadLog(kRun, 0, 0, 3)->size(), 3U);
  EXPECT_TRUE(store_->ReadLog(RunId("other"), 0, 0, kAll)->empty());
}

TEST_P(StoreTest, TrimmingALogDropsItsOldestLinesAndNumbersGoOn) {
  ASSERT_TRUE(store_->AppendLog(kRun, 1, {"aaaa", "bbbb", "cccc", "dddd"}).ok());
  ASSERT_TRUE(store_->AppendLog(RunId("r2"), 1, {"eeee"}).ok());
  EXPECT_EQ(*store_->TrimLog(kRun, 16), 0);
  EXPECT_EQ(*store_->TrimLog(kRun, 9), 2);
  EXPECT_EQ(*store_->TrimLog(kRun, 9), 0);
  EXPECT_EQ(store_->ReadLog(kRun, 0, 0, kAll)->front().number, 3);
  EXPECT_EQ(*store_->TrimLog(kRun, 0), 1);
  ASSERT_TRUE(store_->AppendLog(kRun, 2, {"ffff"}).ok());
  const auto left = store_->ReadLog(kRun, 0, 0, kAll);
  ASSERT_EQ(left->size(), 2U);
  EXPECT_EQ((*left)[0].text, "dddd");
  EXPECT_EQ((*left)[1].number, 5);
  EXPECT_EQ(store_->ReadLog(RunId("r2"), 0, 0, kAll)->size(), 1U);
  EXPECT_EQ(*store_->TrimLog(RunId("unknown"), 0), 0);
}

TEST_P(StoreTest, ThinnedSamplesKeepWhatIsQuotedAndSaySo) {
  std::vector<StoredSample> first, second;
  for (std::int64_t step = 1; step <= 60; ++step) first.push_back(SampleAt(1, step));
  for (std::int64_t step = 41; step <= 100; ++step) second.push_back(SampleAt(2, step));
  ASSERT_TRUE(store_->BeginAttempt(kRun, 1, 0).ok());
  ASSERT_TRUE(store_->BeginAttempt(kRun, 2, 40).ok());
  ASSERT_TRUE(store_->AppendSamples(kRun, kContext, first, {{1, {30, 2.5, 1, 1}}}).ok());
  ASSERT_TRUE(store_->AppendSamples(kRun, kContext, second, {{2, {100, 2.25, 2, 2}}}).ok());
  ASSERT_TRUE(store_->BeginAttempt(RunId("r2"), 1, 0).ok());
  ASSERT_TRUE(store_->AppendSamples(RunId("r2"), kContext, {SampleAt(1, 3)}, {}).ok());
  EXPECT_EQ(store_->ThinnedBy(kRun)->every, 0);
  EXPECT_EQ(store_->ReadUsage()->at(kRun).samples, 120);
  // 40, 80 and the two named ones; the replaced 20 go too.
  EXPECT_EQ(*store_->ThinSamples(kRun, 40, {1, 97}, 1234), 116);
  EXPECT_EQ(CurrentSteps(), (std::vector<std::pair<AttemptNumber, std::int64_t>>{{1, 1}, {1, 40}, {2, 80}, {2, 97}}));
  EXPECT_EQ(*store_->ThinSamples(kRun, 40, {1, 97}, 1234), 0);
  Reopen();
  EXPECT_EQ(store_->ThinnedBy(kRun)->every, 40);
  EXPECT_EQ(store_->ThinnedBy(kRun)->wall_ms, 1234);
  EXPECT_EQ(store_->ReadUsage()->at(kRun).samples, 4);
  EXPECT_EQ(store_->ReadUsage()->at(RunId("r2")).samples, 1);
  EXPECT_EQ(store_->ReadEvaluations(kRun)->size(), 2U);
  EXPECT_EQ(store_->ReadLastSample(kRun, kContext, 100)->value().sample.step, 97);
  EXPECT_EQ(*store_->ThinSamples(kRun, 101, {}, 1235), 4);
  EXPECT_TRUE(CurrentSteps().empty());
}

TEST_P(StoreTest, ManyWritersAndReadersAtOnceLoseNothing) {
  constexpr int kThreads = 8;
  constexpr int kSteps = 25;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([this, thread] {
      const RunId run(StrCat("r", thread));
      EXPECT_TRUE(store_->BeginAttempt(run, 1, 0).ok());
      for (int step = 1; step <= kSteps; ++step) {
        EXPECT_TRUE(store_->AppendSamples(run, kContext, {SampleAt(1, step)}, {}).ok());
        EXPECT_EQ(store_->ReadSamples(run, kContext, 0, kAll)->size(), static_cast<std::size_t>(step));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  Reopen();
  for (int thread = 0; thread < kThreads; ++thread) {
    EXPECT_EQ(store_->ReadSamples(RunId(StrCat("r", thread)), kContext, 0, kAll)->size(), static_cast<std::size_t>(kSteps));
  }
}

}  // namespace entrain::store
