#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "reports/report.h"

namespace entrain::reports {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

domain::EntropySample Sample(std::int64_t step, double loss, std::vector<float> entropy_nats, double rate = 100) {
  domain::EntropySample sample;
  sample.step = step;
  sample.loss = loss;
  sample.tokens_per_second = rate;
  sample.entropy_nats = std::move(entropy_nats);
  return sample;
}

RunData MakeRun(const std::string& variant, const std::string& seed, double perplexity) {
  RunData run;
  run.id = variant + seed;
  run.label = variant + " seed=" + seed;
  run.variant = variant;
  run.axes = {{"seed", seed}};
  run.state = domain::RunState::kSucceeded;
  run.steps = 100;
  run.n_layer = 1;
  run.n_head = 2;
  run.context = 64;
  run.samples = {Sample(50, 3.0, {4, 4}, 90), Sample(100, 2.0, {0.5f, 2.0f}, 110)};
  run.evaluations = {{.step = 50, .loss = std::log(perplexity * 2)}, {.step = 100, .loss = std::log(perplexity)}};
  return run;
}

RunData Halted(RunData run, std::int64_t step) {
  run.state = domain::RunState::kHalted;
  run.verdict.reason = domain::HaltReason::kCollapse;
  run.verdict.step = step;
  run.verdict.explanation = "every head of layer 0 was below 0.16 nats at steps 1 and 50";
  run.result_step = step;
  return run;
}

TEST(LeaderboardTest, ARowAVariantOverItsSeedsBestFirst) {
  SweepData sweep;
  sweep.runs = {MakeRun("B", "1", 20), MakeRun("A", "1", 10), MakeRun("A", "2", 14)};
  const auto rows = MakeLeaderboard(sweep);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].variant, "A");
  EXPECT_TRUE(rows[0].completed);
  EXPECT_EQ(rows[0].n, 2);
  EXPECT_EQ(rows[0].runs, 2);
  EXPECT_NEAR(rows[0].perplexity_mean, 12, 1e-9);
  EXPECT_NEAR(rows[0].perplexity_spread, std::sqrt(8.0), 1e-9);
  EXPECT_DOUBLE_EQ(rows[0].loss_mean, 2.0);
  EXPECT_DOUBLE_EQ(rows[0].tokens_per_second_mean, 110);
  EXPECT_EQ(rows[0].result_step_max, 100);
  EXPECT_THAT(rows[0].bands_log_context.quarter, ElementsAre(2, 2, 0, 0));
  EXPECT_THAT(rows[0].bands_observed.quarter, ElementsAre(0, 2, 0, 2));
  EXPECT_THAT(rows[0].states, ElementsAre(Pair("succeeded", 2)));
  EXPECT_EQ(rows[0].note, "");
  EXPECT_EQ(rows[1].variant, "B");
  EXPECT_TRUE(std::isnan(rows[1].perplexity_spread));
}

TEST(LeaderboardTest, OtherAxesMakeRowsOfTheirOwn) {
  SweepData sweep;
  sweep.runs = {MakeRun("A", "1", 10), MakeRun("A", "2", 10)};
  sweep.runs[0].axes["train.lr"] = "0.001";
  sweep.runs[1].axes["train.lr"] = "0.003";
  const auto rows = MakeLeaderboard(sweep);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].axes, "train.lr=0.001");
  EXPECT_EQ(rows[1].axes, "train.lr=0.003");
}

TEST(LeaderboardTest, AHaltedRunCountsAtItsVerdictAndRanksBelowCompletedOnes) {
  SweepData sweep;
  sweep.runs = {Halted(MakeRun("A", "1", 3), 50), MakeRun("B", "1", 20)};
  const auto rows = MakeLeaderboard(sweep);
  EXPECT_EQ(rows[0].variant, "B");
  EXPECT_FALSE(rows[1].completed);
  EXPECT_NEAR(rows[1].perplexity_mean, 6, 1e-9);
  EXPECT_DOUBLE_EQ(rows[1].loss_mean, 3.0);
  EXPECT_EQ(rows[1].result_step_max, 50);
  EXPECT_THAT(rows[1].bands_log_context.quarter, ElementsAre(0, 0, 0, 2));
  EXPECT_THAT(rows[1].states, ElementsAre(Pair("halted (collapse)", 1)));
  EXPECT_THAT(rows[1].note, HasSubstr("every head of layer 0"));
}

TEST(LeaderboardTest, AHaltedSeedDoesNotEnterTheMeanOfThoseThatFinished) {
  SweepData sweep;
  sweep.runs = {MakeRun("A", "1", 10), Halted(MakeRun("A", "2", 1000), 50)};
  const auto rows = MakeLeaderboard(sweep);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].n, 1);
  EXPECT_EQ(rows[0].runs, 2);
  EXPECT_NEAR(rows[0].perplexity_mean, 10, 1e-9);
  EXPECT_THAT(rows[0].states, ElementsAre(Pair("halted (collapse)", 1), Pair("succeeded", 1)));
}

TEST(LeaderboardTest, RowsWithoutAResultComeLast) {
  SweepData sweep;
  RunData queued = MakeRun("A", "1", 10);
  queued.state = domain::RunState::kQueued;
  queued.samples.clear();
  queued.evaluations.clear();
  RunData broken = MakeRun("B", "1", 10);
  broken.state = domain::RunState::kHalted;
  broken.verdict.reason = domain::HaltReason::kNonFinite;
  broken.verdict.step = 50;
  broken.evaluations = {{.step = 50, .loss = std::nan("")}};
  sweep.runs = {queued, broken, MakeRun("C", "1", 1e6)};
  const auto rows = MakeLeaderboard(sweep);
  EXPECT_EQ(rows[0].variant, "C");
  EXPECT_TRUE(std::isnan(rows[1].perplexity_mean));
  EXPECT_EQ(rows[1].n, 0);
  EXPECT_TRUE(std::isnan(rows[2].perplexity_mean));
  EXPECT_THAT(rows[2].states, ElementsAre(Pair("halted (non_finite)", 1)));
}

TEST(LeaderboardTest, JsonHasEveryNumberAndNullForNone) {
  SweepData sweep;
  sweep.runs = {MakeRun("A \"x\" \xff", "1", 10)};
  const auto json = nlohmann::json::parse(LeaderboardJson(MakeLeaderboard(sweep)));
  ASSERT_EQ(json.size(), 1u);
  EXPECT_NEAR(json[0]["perplexity_mean"].get<double>(), 10, 1e-9);
  EXPECT_TRUE(json[0]["perplexity_spread"].is_null());
  EXPECT_EQ(json[0]["heads_by_quarter_log_context"], nlohmann::json({1, 1, 0, 0}));
  EXPECT_EQ(json[0]["states"]["succeeded"], 1);
  EXPECT_EQ(nlohmann::json::parse(LeaderboardJson({})), nlohmann::json::array());
}

TEST(LeaderboardTest, CsvQuotesWhatNeedsIt) {
  SweepData sweep;
  sweep.runs = {MakeRun("A, \"x\"", "1", 10)};
  const std::string csv = LeaderboardCsv(MakeLeaderboard(sweep));
  EXPECT_THAT(csv, HasSubstr("\r\n\"A, \"\"x\"\"\",,1,1,true,"));
  EXPECT_THAT(csv, HasSubstr(",succeeded 1,\r\n"));
  const std::string header = csv.substr(0, csv.find("\r\n"));
  const std::string row = csv.substr(csv.find("\r\n") + 2);
  // The quoted name holds one more comma.
  EXPECT_EQ(std::count(header.begin(), header.end(), ',') + 1, std::count(row.begin(), row.end(), ','));
}

TEST(SummaryTest, SaysWhatWonWhatWasStoppedAndWhatThatSaved) {
  SweepData sweep;
  sweep.runs = {MakeRun("A", "1", 10), MakeRun("B", "1", 20), Halted(MakeRun("C", "1", 3), 50)};
  EXPECT_THAT(SummaryLines(sweep),
              ElementsAre("Best: A with perplexity 10.00 over 1 run, before B with 20.00.",
                          "C seed=1 stopped: entropy collapse, at step 50 of 100. Every head of layer 0 was below 0.16 nats at "
                          "steps 1 and 50.",
                          "Stopping saved 50 of the sweep's 300 steps (17 %)."));
}

TEST(SummaryTest, TokensSavedAreCountedAtTheRunsOwnRate) {
  SweepData sweep;
  RunData halted = Halted(MakeRun("C", "1", 3), 50);
  for (auto& sample : halted.samples) sample.tokens = 64 * sample.step;
  sweep.runs = {MakeRun("A", "1", 10), halted};
  EXPECT_EQ(SummaryLines(sweep).back(), "Stopping saved 50 of the sweep's 200 steps (25 %), 3200 tokens.");
}

TEST(SummaryTest, SaysWhenThereIsNoBestYet) {
  SweepData sweep;
  RunData running = MakeRun("A", "1", 10);
  running.state = domain::RunState::kRunning;
  sweep.runs = {running};
  EXPECT_THAT(SummaryLines(sweep), ElementsAre(HasSubstr("no best variant"), "1 run not finished: this is the state so far."));
  EXPECT_THAT(SummaryLines({}), ElementsAre(HasSubstr("no best variant")));
}

}  // namespace
}  // namespace entrain::reports
