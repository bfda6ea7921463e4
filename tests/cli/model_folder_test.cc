#include "cli/model_folder.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace entrain::cli {
namespace {

using testing::HasSubstr;

v1::RunDetail MakeRun(const std::vector<std::pair<int, std::int64_t>>& checkpoints,
                  const std::vector<std::pair<std::int64_t, double>>& evaluations) {
  v1::RunDetail run;
  run.mutable_summary()->set_id("r1");
  run.mutable_summary()->set_state("succeeded");
  for (const auto& [attempt, step] : checkpoints) {
    v1::Checkpoint* checkpoint = run.add_checkpoints();
    checkpoint->set_attempt(static_cast<std::uint32_t>(attempt));
    checkpoint->set_step(step);
  }
  for (const auto& [step, loss] : evaluations) {
    v1::Evaluation* evaluation = run.add_evaluations();
    evaluation->set_step(step);
    evaluation->set_loss(loss);
  }
  return run;
}

TEST(ChooseCheckpointTest, BestIsTheLowestHeldOutLoss) {
  const v1::RunDetail run = MakeRun({{1, 100}, {1, 200}, {2, 300}}, {{100, 3.0}, {200, 2.0}, {300, 2.5}});
  for (const CheckpointWish wish : {CheckpointWish::kBest, CheckpointWish::kBestOrLast}) {
    const auto chosen = ChooseCheckpoint(run, wish, 0);
    ASSERT_TRUE(chosen.ok()) << chosen.status();
    EXPECT_EQ(chosen->checkpoint.step(), 200);
    EXPECT_EQ(chosen->eval_loss, 2.0);
    EXPECT_EQ(chosen->remark, "");
  }
  const auto last = ChooseCheckpoint(run, CheckpointWish::kLast, 0);
  ASSERT_TRUE(last.ok());
  EXPECT_EQ(last->checkpoint.step(), 300);
  EXPECT_EQ(last->checkpoint.attempt(), 2u);
  EXPECT_EQ(last->eval_loss, 2.5);
}

TEST(ChooseCheckpointTest, AStepIsOneOfThoseThereAre) {
  const v1::RunDetail run = MakeRun({{1, 100}, {2, 100}, {2, 200}}, {{100, std::nan("")}});
  const auto chosen = ChooseCheckpoint(run, CheckpointWish::kStep, 100);
  ASSERT_TRUE(chosen.ok());
  EXPECT_EQ(chosen->checkpoint.attempt(), 2u) << "the newest attempt's counts";
  EXPECT_FALSE(chosen->eval_loss.has_value());
  const absl::Status missing = ChooseCheckpoint(run, CheckpointWish::kStep, 150).status();
  EXPECT_TRUE(absl::IsNotFound(missing));
  EXPECT_THAT(std::string(missing.message()), HasSubstr("its checkpoints are of steps 100, 200"));
  EXPECT_THAT(std::string(ChooseCheckpoint(MakeRun({}, {}), CheckpointWish::kLast, 0).status().message()), HasSubstr("no checkpoint yet"));
}

TEST(ChooseCheckpointTest, WithoutAnEvaluatedCheckpointTheLastIsSaidToBeSo) {
  const v1::RunDetail run = MakeRun({{1, 100}, {1, 150}}, {{120, 2.0}});
  const auto chosen = ChooseCheckpoint(run, CheckpointWish::kBestOrLast, 0);
  ASSERT_TRUE(chosen.ok());
  EXPECT_EQ(chosen->checkpoint.step(), 150);
  EXPECT_THAT(chosen->remark, HasSubstr("the last one"));
  EXPECT_TRUE(absl::IsNotFound(ChooseCheckpoint(run, CheckpointWish::kBest, 0).status()));
}

TEST(ChooseCheckpointTest, ABetterStepWithoutACheckpointIsNamed) {
  const auto chosen = ChooseCheckpoint(MakeRun({{1, 100}, {1, 300}}, {{100, 3.0}, {200, 1.0}, {300, 2.0}}), CheckpointWish::kBest, 0);
  ASSERT_TRUE(chosen.ok());
  EXPECT_EQ(chosen->checkpoint.step(), 300);
  EXPECT_THAT(chosen->remark, HasSubstr("lower at step 200"));
}

// What came after the verdict is kept and does not count.
TEST(ChooseCheckpointTest, AHaltedRunsResultsEndWithItsVerdict) {
  v1::RunDetail run = MakeRun({{1, 100}, {1, 200}}, {{100, 3.0}, {200, 2.0}});
  run.mutable_summary()->set_state("halted");
  run.mutable_summary()->set_result_step(150);
  const auto best = ChooseCheckpoint(run, CheckpointWish::kBest, 0);
  ASSERT_TRUE(best.ok());
  EXPECT_EQ(best->checkpoint.step(), 100);
  EXPECT_EQ(best->remark, "");
  const auto last = ChooseCheckpoint(run, CheckpointWish::kLast, 0);
  ASSERT_TRUE(last.ok());
  EXPECT_EQ(last->checkpoint.step(), 200);
  EXPECT_THAT(last->remark, HasSubstr("verdict of step 150"));
}

}  // namespace
}  // namespace entrain::cli
