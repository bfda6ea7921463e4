#include "metrics/worker_metrics.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "domain/model_config.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "metrics/coordinator_metrics.h"
#include "tests/metrics/http_get.h"

namespace entrain::metrics {
namespace {

using ::testing::HasSubstr;

const RunLabels kRun{.run_id = "r1", .sweep = "s1", .variant = "SM+G", .label = "SM+G seed=1",
                     .n_layer = 2, .n_head = 3, .context = 64, .steps = 200};

domain::EntropySample Sample(std::int64_t step, std::vector<float> entropy_nats) {
  domain::EntropySample sample;
  sample.step = step;
  sample.loss = 2.5;
  sample.reg = 0.125;
  sample.grad_norm = 1.5;
  sample.lr = 1e-3;
  sample.tokens = step * 512;
  sample.tokens_per_second = 4000;
  sample.entropy_nats = std::move(entropy_nats);
  sample.max_abs_score = {3.0f, 4.5f};
  return sample;
}

class WorkerMetricsTest : public testing::Test {
 protected:
  void Start(const SeriesLimits& limits = {}) {
    auto served = WorkerMetrics::Serve("127.0.0.1:0", &clock_, 60'000, limits);
    ASSERT_TRUE(served.ok()) << served.status();
    metrics_ = std::move(served).value();
  }
  std::map<std::string, double> Now() { return Scrape(metrics_->port()); }

  ManualClock clock_;
  std::unique_ptr<WorkerMetrics> metrics_;
};

TEST_F(WorkerMetricsTest, ShowsEveryHeadLayerAndScalarOfASample) {
  Start();
  metrics_->RunBegan(kRun, 2);
  metrics_->Observe("r1", Sample(7, {0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f}));
  metrics_->Observe("r1", domain::Evaluation{.step = 7, .loss = 2.25});
  const auto series = Now();
  EXPECT_EQ(series.at(R"(entrain_attention_entropy_nats{head="0",layer="0",run="r1"})"), 0.5);
  EXPECT_EQ(series.at(R"(entrain_attention_entropy_nats{head="2",layer="1",run="r1"})"), 4.0);
  EXPECT_EQ(series.at(R"(entrain_attention_entropy_window_min_nats{head="2",layer="1",run="r1"})"), 4.0);
  EXPECT_EQ(series.at(R"(entrain_layer_entropy_nats{layer="0",run="r1",stat="min"})"), 0.5);
  EXPECT_EQ(series.at(R"(entrain_layer_entropy_nats{layer="0",run="r1",stat="mean"})"), 1.0);
  EXPECT_EQ(series.at(R"(entrain_layer_entropy_nats{layer="1",run="r1",stat="max"})"), 4.0);
  EXPECT_EQ(series.at(R"(entrain_layer_entropy_nats{layer="1",run="r1",stat="p25"})"), 2.5);
  EXPECT_EQ(series.at(R"(entrain_layer_max_abs_score{layer="1",run="r1"})"), 4.5);
  // ln 64 / 4 = 1.04: three heads in the first quarter's reach, and so on.
  EXPECT_EQ(series.at(R"(entrain_run_heads{quarter="1",run="r1"})"), 2);
  EXPECT_EQ(series.at(R"(entrain_run_heads{quarter="2",run="r1"})"), 2);
  EXPECT_EQ(series.at(R"(entrain_run_heads{quarter="3",run="r1"})"), 1);
  EXPECT_EQ(series.at(R"(entrain_run_heads{quarter="4",run="r1"})"), 1);
  EXPECT_EQ(series.at(R"(entrain_run_step{run="r1"})"), 7);
  EXPECT_EQ(series.at(R"(entrain_run_loss_nats{run="r1"})"), 2.5);
  EXPECT_EQ(series.at(R"(entrain_run_regulariser{run="r1"})"), 0.125);
  EXPECT_EQ(series.at(R"(entrain_run_gradient_norm{run="r1"})"), 1.5);
  EXPECT_EQ(series.at(R"(entrain_run_learning_rate{run="r1"})"), 1e-3);
  EXPECT_EQ(series.at(R"(entrain_run_tokens_total{run="r1"})"), 7 * 512);
  EXPECT_EQ(series.at(R"(entrain_run_tokens_per_second{run="r1"})"), 4000);
  EXPECT_EQ(series.at(R"(entrain_run_eval_loss_nats{run="r1"})"), 2.25);
  EXPECT_NEAR(series.at(R"(entrain_run_entropy_bound_nats{run="r1"})"), domain::EntropyBoundNats(64), 1e-9);
  EXPECT_EQ(series.at(R"(entrain_run_info{attempt="2",label="SM+G seed=1",run="r1",sweep="s1",variant="SM+G"})"), 1);
}

TEST_F(WorkerMetricsTest, ARunWithoutStepsHasNoEntropyRatherThanZero) {
  Start();
  metrics_->RunBegan(kRun, 1);
  EXPECT_EQ(CountWithPrefix(Now(), "entrain_attention_entropy"), 0u);
  EXPECT_EQ(CountWithPrefix(Now(), "entrain_run_info"), 1u);
}

TEST_F(WorkerMetricsTest, TheWindowMinimumShowsADipBetweenScrapesUntilItIsOld) {
  Start();
  metrics_->RunBegan(kRun, 1);
  const std::string twin = R"(entrain_attention_entropy_window_min_nats{head="0",layer="0",run="r1"})";
  metrics_->Observe("r1", Sample(1, {1, 1, 1, 1, 1, 1}));
  clock_.Advance(1'000);
  metrics_->Observe("r1", Sample(2, {0.0625f, 1, 1, 1, 1, 1}));
  clock_.Advance(1'000);
  metrics_->Observe("r1", Sample(3, {2, 1, 1, 1, 1, 1}));
  EXPECT_EQ(Now().at(twin), 0.0625);
  clock_.Advance(60'000);
  EXPECT_EQ(Now().at(twin), 2);
}

TEST_F(WorkerMetricsTest, SeriesOfAFinishedRunAreInTwoMoreScrapes) {
  Start();
  metrics_->RunBegan(kRun, 1);
  metrics_->Observe("r1", Sample(1, {1, 1, 1, 1, 1, 1}));
  EXPECT_EQ(CountWithPrefix(Now(), "entrain_attention_entropy_nats"), 6u);
  metrics_->RunEnded("r1");
  EXPECT_EQ(CountWithPrefix(Now(), "entrain_attention_entropy_nats"), 6u);
  EXPECT_EQ(CountWithPrefix(Now(), "entrain_attention_entropy_nats"), 6u);
  const auto series = Now();
  for (const auto& [name, value] : series) EXPECT_THAT(name, testing::Not(HasSubstr("r1")));
}

TEST_F(WorkerMetricsTest, SeriesOfAFinishedRunEndAfterTheGraceTimeWithoutAScrape) {
  Start({.grace_ms = 5'000});
  metrics_->RunBegan(kRun, 1);
  metrics_->Observe("r1", Sample(1, {1, 1, 1, 1, 1, 1}));
  metrics_->RunEnded("r1");
  clock_.Advance(5'000);
  EXPECT_EQ(CountWithPrefix(Now(), "entrain_attention_entropy_nats"), 0u);
}

TEST_F(WorkerMetricsTest, AFurtherAttemptContinuesTheSeries) {
  Start();
  metrics_->RunBegan(kRun, 1);
  metrics_->Observe("r1", Sample(10, {1, 1, 1, 1, 1, 1}));
  metrics_->RunEnded("r1");
  metrics_->RunBegan(kRun, 2);
  for (int i = 0; i < 3; ++i) Now();
  metrics_->Observe("r1", Sample(8, {2, 1, 1, 1, 1, 1}));
  const auto series = Now();
  EXPECT_EQ(series.at(R"(entrain_run_step{run="r1"})"), 8);
  EXPECT_EQ(series.at(R"(entrain_run_tokens_total{run="r1"})"), 10 * 512);
  EXPECT_EQ(CountWithPrefix(series, "entrain_run_info"), 1u);
  EXPECT_EQ(CountWithPrefix(series, R"(entrain_run_info{attempt="2")"), 1u);
}

TEST_F(WorkerMetricsTest, NonFiniteValuesAreShownAsSuch) {
  Start();
  metrics_->RunBegan(kRun, 1);
  domain::EntropySample sample = Sample(1, {1, std::nanf(""), 1, 1, 1, 1});
  sample.loss = INFINITY;
  metrics_->Observe("r1", sample);
  const auto series = Now();
  EXPECT_TRUE(std::isinf(series.at(R"(entrain_run_loss_nats{run="r1"})")));
  EXPECT_TRUE(std::isnan(series.at(R"(entrain_attention_entropy_nats{head="1",layer="0",run="r1"})")));
  EXPECT_TRUE(std::isnan(series.at(R"(entrain_layer_entropy_nats{layer="0",run="r1",stat="median"})")));
  EXPECT_EQ(series.at(R"(entrain_layer_entropy_nats{layer="1",run="r1",stat="median"})"), 1);
}

TEST_F(WorkerMetricsTest, UnknownRunsAndOtherShapesAreIgnored) {
  Start();
  metrics_->Observe("nobody", Sample(1, {1, 1, 1, 1, 1, 1}));
  metrics_->RunEnded("nobody");
  metrics_->RunBegan(kRun, 1);
  metrics_->Observe("r1", Sample(1, {1, 1}));
  const auto series = Now();
  EXPECT_EQ(CountWithPrefix(series, "entrain_attention_entropy_nats"), 0u);
  EXPECT_EQ(series.at(R"(entrain_run_step{run="r1"})"), 1);
}

TEST_F(WorkerMetricsTest, BeyondTheCapARunHasPerLayerSeriesOnly) {
  Start({.max_heads = 6});
  metrics_->RunBegan(kRun, 1);
  RunLabels second = kRun;
  second.run_id = "r2";
  metrics_->RunBegan(second, 1);
  metrics_->Observe("r1", Sample(1, {1, 1, 1, 1, 1, 1}));
  metrics_->Observe("r2", Sample(1, {1, 1, 1, 1, 1, 1}));
  const auto series = Now();
  EXPECT_EQ(CountWithPrefix(series, "entrain_attention_entropy_nats"), 6u);
  EXPECT_EQ(CountWithPrefix(series, "entrain_layer_entropy_nats"), 2u * 2u * 6u);
}

TEST_F(WorkerMetricsTest, ScrapesAndSamplesMayOverlap) {
  Start();
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([this, t] {
      RunLabels labels = kRun;
      labels.run_id = "run" + std::to_string(t);
      for (int i = 1; i <= 200; ++i) {
        metrics_->RunBegan(labels, static_cast<std::uint32_t>(i));
        metrics_->Observe(labels.run_id, Sample(i, std::vector<float>(6, static_cast<float>(i))));
        if (i % 50 == 0) metrics_->RunEnded(labels.run_id);
      }
    });
  }
  for (int i = 0; i < 50; ++i) {
    const auto series = Now();
    for (int t = 0; t < 3; ++t) {
      const std::string run = "run" + std::to_string(t);
      const auto step = series.find("entrain_run_step{run=\"" + run + "\"}");
      if (step == series.end()) continue;
      EXPECT_EQ(series.at("entrain_attention_entropy_nats{head=\"0\",layer=\"0\",run=\"" + run + "\"}"), step->second);
    }
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(WorkerMetricsTest, PromtoolFindsNothingWrong) {
  Start();
  RunLabels labels = kRun;
  labels.label = "quote \" backslash \\ newline \n end";
  metrics_->RunBegan(labels, 1);
  domain::EntropySample sample = Sample(1, {1, std::nanf(""), 1, 1, 1, 1});
  sample.theta.assign(6, 0.5f);
  metrics_->Observe("r1", sample);
  metrics_->Observe("r1", domain::Evaluation{.step = 1, .loss = 2.25});
  metrics_->SetDiskFree(1 << 30);
  const std::string path = testing::TempDir() + "/worker_exposition.txt";
  const auto check = [&path] { return std::system(("promtool check metrics < " + path).c_str()); };
  std::ofstream(path) << HttpGet(metrics_->port(), "/metrics").body;
  EXPECT_EQ(check(), 0);
  // The check can fail.
  std::ofstream(path) << "# TYPE entrain_bad counter\nentrain_bad 1\n";
  EXPECT_NE(check(), 0);
}

TEST_F(WorkerMetricsTest, HealthzAnswers) {
  Start();
  EXPECT_EQ(HttpGet(metrics_->port(), "/healthz").status, 200);
  EXPECT_EQ(HttpGet(metrics_->port(), "/nothing").status, 404);
}

TEST_F(WorkerMetricsTest, ATakenAddressIsNamed) {
  Start();
  const std::string taken = "127.0.0.1:" + std::to_string(metrics_->port());
  const auto second = WorkerMetrics::Serve(taken, &clock_);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(taken));
  for (const char* bad : {"", "9090", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000", "host.invalid:0"}) {
    EXPECT_FALSE(WorkerMetrics::Serve(bad, &clock_).ok()) << bad;
  }
}

}  // namespace
}  // namespace entrain::metrics
