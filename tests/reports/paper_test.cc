#include "reports/paper.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "reports/cost_model.h"
#include "reports/number_text.h"
#include "tests/reports/sample_sweep.h"

namespace entrain::reports {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

RunData PaperRun(const std::string& variant, int seed, double perplexity) {
  RunData run;
  run.variant = variant;
  run.axes = {{"seed", std::to_string(seed)}};
  run.state = domain::RunState::kSucceeded;
  run.steps = 100;
  run.n_layer = 12;
  run.n_head = 1;
  run.context = 64;
  run.model.emplace();
  run.model->n_embd = 64;
  run.model->n_head = 1;
  domain::EntropySample sample;
  sample.step = 100;
  for (int layer = 0; layer < 12; ++layer) sample.entropy_nats.push_back(layer < 5 ? 3.2F : layer < 8 ? 2.0F : 0.1F);
  run.samples = {sample};
  run.evaluations = {{.step = 25, .loss = std::log(4 * perplexity)},
                     {.step = 50, .loss = std::log(2 * perplexity)},
                     {.step = 100, .loss = std::log(perplexity)}};
  return run;
}

SweepData SweepOf(const std::vector<std::pair<std::string, std::vector<double>>>& variants) {
  SweepData sweep;
  for (const auto& [variant, perplexities] : variants) {
    for (double perplexity : perplexities) sweep.runs.push_back(PaperRun(variant, static_cast<int>(sweep.runs.size()), perplexity));
  }
  return sweep;
}

const ComparedFigure& FigureAt(const PaperComparison& comparison, PaperMetric metric, const std::string& row) {
  for (const ComparedMetric& compared : comparison.metrics) {
    for (std::size_t i = 0; i < comparison.rows.size(); ++i) {
      if (compared.metric == metric && comparison.rows[i] == row) return compared.figures[i];
    }
  }
  throw std::runtime_error("no figure of " + row);
}

TEST(PaperTest, RanksAndSignsOfBothSides) {
  const auto comparison = CompareWithPaper(*FindPaperTable("architectures"), SweepOf({{"SM+LN+G", {7.0, 7.1, 6.9}},
                                                                                     {"SM+LN+R", {7.05, 6.95, 7.15}},
                                                                                     {"SM+G", {9.0, 9.1, 9.2}},
                                                                                     {"SM+LN", {8.0, 8.1}},
                                                                                     {"mine", {6.0}}}));
  EXPECT_EQ(comparison.size, "L=12 d=64 T=64");
  EXPECT_FALSE(comparison.full_scale);
  EXPECT_THAT(comparison.missing, ElementsAre("SM+R", "SM"));
  const auto at = [&](const char* row) { return FigureAt(comparison, PaperMetric::kPerplexity, row); };
  EXPECT_EQ(at("SM+LN+G").paper_rank, 1);
  EXPECT_EQ(at("SM+LN").paper_rank, 5);
  EXPECT_EQ(at("SM").paper_rank, 6);
  EXPECT_TRUE(at("SM").paper_diverged);
  EXPECT_EQ(at("SM").paper_sign, Sign::kMore);
  EXPECT_EQ(at("SM").here_rank, 0);
  EXPECT_EQ(at("SM+LN+G").here_rank, 2);
  EXPECT_EQ(at("SM+LN+G").here_sign, Sign::kNone);
  EXPECT_NEAR(at("SM+LN+G").here, 7.0, 1e-9);
  EXPECT_NEAR(at("SM+LN+G").here_spread, 0.1, 1e-9);
  EXPECT_EQ(at("SM+LN+R").here_sign, Sign::kMoreUnsure) << "0.05 apart, standard error 0.08";
  EXPECT_EQ(at("SM+G").here_sign, Sign::kMore);
  EXPECT_EQ(at("SM+LN").here_sign, Sign::kMoreUnsure) << "two seeds only";
  EXPECT_EQ(at("mine").paper_rank, 0);
  EXPECT_EQ(at("mine").here_sign, Sign::kLessUnsure);
  // Of the four rows on both sides, G is told apart from LN+G and LN+R; every pair with SM+LN has too few seeds.
  const ComparedMetric& metric = comparison.metrics.at(0);
  EXPECT_EQ(metric.pairs_same, 2);
  EXPECT_EQ(metric.pairs_opposite, 0);
  EXPECT_EQ(metric.pairs_unsure, 4);
}

TEST(PaperTest, AnOppositeOrderIsCounted) {
  const auto comparison =
      CompareWithPaper(*FindPaperTable("architectures"), SweepOf({{"SM+R", {9.0, 9.1, 8.9}}, {"SM+G", {8.0, 8.1, 7.9}}}));
  EXPECT_EQ(comparison.metrics.at(0).pairs_opposite, 1);
  EXPECT_EQ(FigureAt(comparison, PaperMetric::kPerplexity, "SM+G").here_sign, Sign::kNone) << "the reference row is not here";
}

TEST(PaperTest, AHaltedRunHasNoPerplexityButAnEntropy) {
  SweepData sweep = SweepOf({{"SM", {50.0}}});
  sweep.runs[0].state = domain::RunState::kHalted;
  sweep.runs[0].verdict.reason = domain::HaltReason::kCollapse;
  sweep.runs[0].result_step = 100;
  EXPECT_EQ(FigureAt(CompareWithPaper(*FindPaperTable("architectures"), sweep), PaperMetric::kPerplexity, "SM").here_rank, 0);
  const auto layers = CompareWithPaper(*FindPaperTable("layers"), sweep);
  const double bound = domain::EntropyBoundNats(64);
  EXPECT_NEAR(FigureAt(layers, PaperMetric::kEarlyLayersShare, "SM").here, 3.2 / bound, 1e-6);
  EXPECT_NEAR(FigureAt(layers, PaperMetric::kDeepLayersShare, "SM").here, 0.1 / bound, 1e-6);
  EXPECT_NEAR(FigureAt(layers, PaperMetric::kEarlyLayersShare, "SM").paper_low, 3.5 / 3.8779, 1e-3);
  const auto heads = CompareWithPaper(*FindPaperTable("heads"), sweep);
  EXPECT_NEAR(FigureAt(heads, PaperMetric::kTopQuarterPercent, "SM").here, 100.0 * 5 / 12, 1e-9);
  EXPECT_NEAR(FigureAt(heads, PaperMetric::kMiddleHalfPercent, "SM").here, 100.0 * 3 / 12, 1e-9);
  EXPECT_NEAR(FigureAt(heads, PaperMetric::kBottomQuarterPercent, "SM").here, 100.0 * 4 / 12, 1e-9);
}

TEST(PaperTest, AxesNameRowsAndShareOfTheStepsNamesEvaluations) {
  SweepData sweep = SweepOf({{"EReg(SM(t)+ScFuFFN)", {5.0}}});
  EXPECT_NEAR(FigureAt(CompareWithPaper(*FindPaperTable("pi-languini-t512"), sweep), PaperMetric::kQuarterPerplexity, "EReg(SM(t)+ScFuFFN)").here, 20,
              1e-9);
  EXPECT_NEAR(FigureAt(CompareWithPaper(*FindPaperTable("pi-languini-t512"), sweep), PaperMetric::kHalfPerplexity, "EReg(SM(t)+ScFuFFN)").here, 10,
              1e-9);
  const auto gamma = CompareWithPaper(*FindPaperTable("gamma"), SweepOf({{"gamma 0.25", {5.0}}}));
  EXPECT_EQ(FigureAt(gamma, PaperMetric::kTopQuarterPercent, "gamma 0.25").n, 1);
  EXPECT_EQ(gamma.missing.size(), 6u);
  sweep.runs[0].axes["lr"] = "0.25";
  const auto other = CompareWithPaper(*FindPaperTable("temperature"), sweep);
  EXPECT_EQ(FigureAt(other, PaperMetric::kPerplexity, "EReg(SM(t)+ScFuFFN) lr=0.25").n, 1);
  EXPECT_EQ(other.missing.size(), 2u);
}

TEST(PaperTest, TheSizeOfThePaperIsTold) {
  SweepData sweep = SweepOf({{"SM+LN+G", {2.7}}});
  sweep.runs[0].context = 128;
  sweep.runs[0].model->n_embd = 768;
  EXPECT_TRUE(CompareWithPaper(*FindPaperTable("architectures"), sweep).full_scale);
  EXPECT_FALSE(CompareWithPaper(*FindPaperTable("pi-l12-t256"), sweep).full_scale);
}

// The cost rows that the model is fitted to and the comparison's figures are the same print.
TEST(PaperTest, CostsAgreeWithTheCostModelsRows) {
  int compared = 0;
  for (const PaperRow& row : PaperRows()) {
    for (const PaperTable& table : PaperTables()) {
      if (!table.name.starts_with("pi-") || table.n_layer != row.n_layer || table.context != row.context) continue;
      for (const PaperTableRow& printed : table.rows) {
        for (const PaperFigure& figure : printed.figures) {
          if (printed.row != row.variant) continue;
          if (figure.metric == PaperMetric::kCommunicationGb) {
            EXPECT_EQ(figure.low, row.communication_gb) << table.name;
          }
          if (figure.metric == PaperMetric::kLatencyMinutes) {
            EXPECT_EQ(figure.low, row.latency_minutes) << table.name;
          }
          ++compared;
        }
      }
    }
  }
  EXPECT_EQ(compared, 9 * 3 + 3 * 5);
}

TEST(PaperTest, TextsAreAtMost100ColumnsAndKeepTheTwoSidesApart) {
  SweepData sweep = MakeSampleSweep({.seeds = 3});
  sweep.runs[0].variant = "a variant with a name that is much longer than any that the paper has äöü";
  for (const PaperTable& table : PaperTables()) {
    std::istringstream lines(PaperText(CompareWithPaper(table, sweep)));
    for (std::string line; std::getline(lines, line);) EXPECT_LE(DisplayWidth(line), 100u) << line;
  }
  const std::string text = PaperText(CompareWithPaper(*FindPaperTable("architectures"), SweepOf({{"SM+LN+G", {7.0, 7.1, 6.9}}})));
  EXPECT_THAT(text, HasSubstr("L=12 d=64 T=64; another size than the paper's: compare ranks and signs, not figures"));
  EXPECT_THAT(text, HasSubstr("  SM+LN+G    2.69     1         7.00 ± 0.10     1        3\n"));
  EXPECT_THAT(text, HasSubstr("not in this sweep:\n  SM+LN+R\n"));
}

TEST(PaperTest, JsonAndPageHoldTheComparison) {
  const auto comparison = CompareWithPaper(*FindPaperTable("architectures"), SweepOf({{"SM+LN+G", {7.0, 7.1, 6.9}}}));
  const auto json = nlohmann::json::parse(PaperJson(comparison));
  EXPECT_EQ(json["table"], "architectures");
  EXPECT_EQ(json["metrics"][0]["rows"][0]["row"], "SM+LN+G");
  EXPECT_EQ(json["metrics"][0]["rows"][0]["paper_low"], 2.69);
  EXPECT_TRUE(json["metrics"][0]["rows"][5]["paper_low"].is_null());
  EXPECT_EQ(json["metrics"][0]["rows"][5]["paper_diverged"], true);
  const SweepData sweep = SweepOf({{"SM+LN+G", {7.0}}});
  EXPECT_THAT(ReportHtml(sweep, &comparison), HasSubstr("\"title\":\"Evaluation perplexity by architecture\""));
  EXPECT_THAT(ReportHtml(sweep), HasSubstr("\"paper\":null"));
}

}  // namespace
}  // namespace entrain::reports
