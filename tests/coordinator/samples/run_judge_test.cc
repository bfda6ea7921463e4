// What a judge says of early stopping and of progress, sample by sample.
#include "coordinator/samples/run_judge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/strings.h"

namespace entrain::samples {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class RunJudgeTest : public testing::Test {
 protected:
  void Make(domain::RungMetric metric, std::int64_t stall_limit_s = 0) {
    auto spec = std::make_shared<domain::RunSpec>();
    spec->steps = 100;
    spec->n_layer = 1;
    spec->n_head = 1;
    spec->context = 16;
    spec->early_stopping = {domain::Halving::kAsync, metric, 10, 3, 4};
    spec->limits.stall_limit_s = stall_limit_s;
    judge_ = std::make_unique<RunJudge>(run_, spec, store_.get());
  }
  void Begin(AttemptNumber attempt, std::int64_t resume_step) {
    events_.clear();
    ASSERT_TRUE(judge_->Begin(attempt, resume_step, &events_).ok());
  }
  // Losses are step / 10; an evaluation at the last step if it is a multiple of `eval_every`.
  void Feed(AttemptNumber attempt, std::int64_t first, std::int64_t last, std::int64_t eval_every = 0, float nats = 1.2F) {
    events_.clear();
    std::vector<domain::EntropySample> samples;
    std::vector<store::StoredSample> stored;
    for (std::int64_t step = first; step <= last; ++step) {
      domain::EntropySample sample;
      sample.step = step;
      sample.loss = static_cast<double>(step) / 10.0;
      sample.wall_ms = step * 1'000;
      sample.entropy_nats = store::AsStored({nats}, 16);
      samples.push_back(sample);
      stored.push_back({attempt, sample});
    }
    std::vector<domain::Evaluation> evaluations;
    std::vector<store::StoredEvaluation> stored_evaluations;
    if (eval_every > 0 && last % eval_every == 0) {
      evaluations.push_back({last, 5.0 - 0.01 * static_cast<double>(last), 1, 1});
      stored_evaluations.push_back({attempt, evaluations.back()});
    }
    ASSERT_TRUE(store_->AppendSamples(run_, 16, stored, stored_evaluations).ok());
    ASSERT_TRUE(judge_->Feed(attempt, samples, evaluations, &events_).ok());
  }
  std::vector<std::string> Said() const {
    std::vector<std::string> said;
    for (const EventBody& event : events_) {
      if (const auto* rung = std::get_if<domain::RungReached>(&event)) {
        said.push_back(StrCat("rung ", rung->rung, " of attempt ", rung->key.attempt, " at ", rung->step, ": ", rung->value));
      } else if (std::holds_alternative<domain::RunProgressed>(event)) {
        said.push_back("progress");
      } else if (const auto* verdict = std::get_if<domain::VerdictReached>(&event)) {
        said.push_back(StrCat("verdict at ", verdict->verdict.step));
      } else {
        said.push_back("other");
      }
    }
    return said;
  }

  const RunId run_{"r1"};
  std::unique_ptr<store::Store> store_ = store::MakeMemoryStore();
  std::unique_ptr<RunJudge> judge_;
  std::vector<EventBody> events_;
};

TEST_F(RunJudgeTest, SaysTheFirstEvaluationAtOrAfterARung) {
  Make(domain::RungMetric::kEvalLoss);
  Begin(1, 0);
  Feed(1, 1, 8, 8);
  EXPECT_THAT(Said(), IsEmpty());
  Feed(1, 9, 15);
  EXPECT_THAT(Said(), IsEmpty()) << "trained past it, and not evaluated since";
  Feed(1, 16, 16, 8);
  EXPECT_THAT(Said(), ElementsAre("rung 0 of attempt 1 at 16: 4.84"));
  Feed(1, 17, 24, 8);
  EXPECT_THAT(Said(), IsEmpty());
  Feed(1, 25, 32, 8);
  EXPECT_THAT(Said(), ElementsAre("rung 1 of attempt 1 at 32: 4.68"));
}

TEST_F(RunJudgeTest, SaysTheMeanLossOfTheWindow) {
  Make(domain::RungMetric::kTrainLoss);
  Begin(1, 0);
  Feed(1, 1, 9);
  EXPECT_THAT(Said(), IsEmpty());
  Feed(1, 10, 14);
  EXPECT_THAT(Said(), ElementsAre("rung 0 of attempt 1 at 10: 0.85")) << "of steps 7 to 10";
}

TEST_F(RunJudgeTest, SaysForASuccessorWhatItKeptAndWhatItTrainsAgain) {
  Make(domain::RungMetric::kTrainLoss);
  Begin(1, 0);
  Feed(1, 1, 31);
  EXPECT_THAT(Said(), ElementsAre("rung 0 of attempt 1 at 10: 0.85", "rung 1 of attempt 1 at 30: 2.85"));
  Begin(2, 20);
  EXPECT_THAT(Said(), ElementsAre("rung 0 of attempt 2 at 10: 0.85"));
  Feed(2, 21, 30);
  EXPECT_THAT(Said(), ElementsAre("rung 1 of attempt 2 at 30: 2.85"));
  // A coordinator that starts anew says all again.
  Make(domain::RungMetric::kTrainLoss);
  Begin(2, 20);
  EXPECT_THAT(Said(), ElementsAre("rung 0 of attempt 2 at 10: 0.85", "rung 1 of attempt 2 at 30: 2.85"));
}

TEST_F(RunJudgeTest, SaysNoRungAfterAVerdictAndTheVerdictAgainWhenAskedToJudge) {
  Make(domain::RungMetric::kTrainLoss);
  Begin(1, 0);
  Feed(1, 1, 60, 0, 0.0001F);
  EXPECT_THAT(Said(), ElementsAre("verdict at 51", "rung 0 of attempt 1 at 10: 0.85", "rung 1 of attempt 1 at 30: 2.85"));
  events_.clear();
  judge_->JudgeThrough(1, 60, &events_);
  EXPECT_THAT(Said(), ElementsAre("verdict at 51"));
}

TEST_F(RunJudgeTest, SaysProgressOfARunWithAStallLimitNowAndThen) {
  Make(domain::RungMetric::kEvalLoss, 16);
  Begin(1, 0);
  Feed(1, 1, 1);
  EXPECT_THAT(Said(), IsEmpty()) << "less than an eighth of the limit";
  Feed(1, 2, 2);
  EXPECT_THAT(Said(), ElementsAre("progress"));
  Feed(1, 3, 3);
  EXPECT_THAT(Said(), IsEmpty());
  Feed(1, 4, 5);
  EXPECT_THAT(Said(), ElementsAre("progress"));
}

}  // namespace
}  // namespace entrain::samples
