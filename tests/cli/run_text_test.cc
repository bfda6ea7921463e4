#include "cli/run_text.h"

#include "cli/json_output.h"
#include "cli/watching.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace entrain::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

v1::RunDetail HaltedRun() {
  v1::RunDetail detail;
  v1::RunSummary& run = *detail.mutable_summary();
  run.set_id("rabc");
  run.set_label("SM seed=1");
  run.set_state("halted");
  run.set_halt_reason("collapse");
  run.set_reason("every head of layer 1 is below 0.05 U");
  run.set_result_step(120);
  run.set_step(125);
  run.set_steps(200);
  run.set_eta_ms(-1);
  run.set_n_layer(2);
  run.set_n_head(4);
  run.set_loss(4.5);
  v1::Verdict& verdict = *detail.mutable_verdict();
  verdict.set_reason("collapse");
  verdict.set_rule("collapse.whole_layer");
  verdict.set_step(120);
  verdict.set_limit(0.05);
  verdict.set_explanation("every head of layer 1 is below 0.05 U at steps 70 and 120");
  for (const int head : {7, 4, 5, 6, 1}) verdict.add_heads(head);
  verdict.add_steps(70);
  verdict.add_steps(120);
  verdict.add_values(0.04);
  verdict.add_values(0.01);
  v1::HistoryEntry& entry = *detail.add_history();
  entry.set_what("stopping");
  entry.set_reason("collapse");
  entry.set_wall_ms(1'700'000'000'000);
  return detail;
}

TEST(RunTextTest, HeadsAreNamedByLayerInRanges) {
  EXPECT_EQ(HeadsText(HaltedRun().verdict().heads(), 4), "layer 0: head 1; layer 1: heads 0-3");
}

TEST(RunTextTest, ExplainSaysWhyWithTheNumbers) {
  const std::string text = ExplainRun(HaltedRun(), Colour::kNone);
  EXPECT_THAT(text, HasSubstr("SM seed=1 (rabc) was stopped by a health rule (collapse) at step 120: every head of layer 1"));
  EXPECT_THAT(text, HasSubstr("rule collapse.whole_layer, judged at step 120"));
  EXPECT_THAT(text, HasSubstr("step 70: 0.0400 (limit 0.0500)"));
  EXPECT_THAT(text, HasSubstr("2023-11-14 22:13:20  stopping: collapse"));
}

TEST(RunTextTest, ExplainTellsNotNowFromNever) {
  v1::RunDetail detail;
  detail.mutable_summary()->set_state("queued");
  detail.mutable_summary()->set_reason("needs 4 slots, 2 are free");
  EXPECT_THAT(ExplainRun(detail, Colour::kNone), HasSubstr("waits: needs 4 slots, 2 are free"));
  detail.mutable_summary()->set_never_placeable(true);
  EXPECT_THAT(ExplainRun(detail, Colour::kNone), HasSubstr("can never start on the workers known now: needs 4 slots"));
}

TEST(RunTextTest, DescribeShowsWhatThereIs) {
  const std::string text = DescribeRun(HaltedRun(), Colour::kNone);
  EXPECT_THAT(text, HasSubstr("State:        halted (collapse)"));
  EXPECT_THAT(text, HasSubstr("Progress:     step 125 of 200"));
  EXPECT_THAT(text, Not(HasSubstr("Checkpoints")));
}

TEST(RunTextTest, WhatWentTogetherIsOneLine) {
  v1::RunDetail detail = HaltedRun();
  for (const auto& [step, reason] : {std::pair(10, "older than the newest 3"), std::pair(20, "older than the newest 3"), std::pair(30, "its sweep ended")}) {
    v1::RetiredCheckpoint* retired = detail.add_retired();
    retired->mutable_checkpoint()->set_step(step);
    retired->set_reason(reason);
    retired->set_wall_ms(1'700'000'000'000);
  }
  const std::string text = DescribeRun(detail, Colour::kNone);
  EXPECT_THAT(text, HasSubstr("  2 checkpoints of steps 10 to 20: deleted by retention on 2023-11-14 22:13:20 UTC, older than the newest 3\n"));
  EXPECT_THAT(text, HasSubstr("  checkpoint of step 30: deleted by retention on 2023-11-14 22:13:20 UTC, its sweep ended\n"));
}

TEST(JsonOutputTest, UnknownIsNullAndTimesAreUtc) {
  v1::RunDetail detail = HaltedRun();
  detail.set_config_json("{\"version\":1}");
  detail.mutable_summary()->set_created_wall_ms(1'700'000'000'000);
  const nlohmann::json json = ToJson(detail);
  EXPECT_EQ(json.at("run").at("created"), "2023-11-14T22:13:20Z");
  EXPECT_TRUE(json.at("run").at("eval_loss").is_null());
  EXPECT_TRUE(json.at("run").at("eta_seconds").is_null());
  EXPECT_EQ(json.at("config").at("version"), 1);
  EXPECT_EQ(json.at("verdict").at("heads").size(), 5u);
  EXPECT_TRUE(json.at("verdict").at("values").at(0).is_number());
}

TEST(WatchingTest, TheNewestGenerationOfACellCounts) {
  v1::Sweep sweep;
  const auto add = [&](const char* cell, int generation, const char* state) {
    v1::RunSummary& run = *sweep.add_runs();
    run.set_cell_id(cell);
    run.set_generation(generation);
    run.set_state(state);
  };
  add("a", 1, "failed");
  add("b", 1, "succeeded");
  EXPECT_EQ(ExitCodeOfSweep(sweep), 4);
  add("a", 2, "succeeded");
  EXPECT_EQ(ExitCodeOfSweep(sweep), 0);
}

}  // namespace
}  // namespace entrain::cli
