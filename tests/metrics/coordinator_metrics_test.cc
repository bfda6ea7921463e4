#include "metrics/coordinator_metrics.h"

#include <cstdlib>
#include <fstream>
#include <string>

#include "gtest/gtest.h"
#include "tests/metrics/http_get.h"

namespace entrain::metrics {
namespace {

TEST(CoordinatorMetricsTest, KnownSeriesExistAtZeroFromTheStart) {
  auto metrics = CoordinatorMetrics::Serve("127.0.0.1:0").value();
  const auto series = Scrape(metrics->port());
  EXPECT_EQ(series.at(R"(entrain_runs{state="halted"})"), 0);
  EXPECT_EQ(CountWithPrefix(series, "entrain_runs{"), 10u);
  EXPECT_EQ(series.at(R"(entrain_workers{state="silent"})"), 0);
  EXPECT_EQ(series.at(R"(entrain_verdicts_total{reason="collapse"})"), 0);
  EXPECT_EQ(series.at(R"(entrain_events_total{kind="tick"})"), 0);
  EXPECT_EQ(series.at(R"(entrain_commit_seconds_count)"), 0);
  EXPECT_EQ(CountWithPrefix(series, "entrain_coordinator_disk_free_bytes"), 0u);
}

TEST(CoordinatorMetricsTest, CountsWhatItIsTold) {
  auto metrics = CoordinatorMetrics::Serve("127.0.0.1:0").value();
  metrics->SetRunsInState("running", 3);
  metrics->SetWorkersInState("live", 2);
  metrics->SetSlots(8, 6);
  metrics->ObserveCommit(0.002, 5);
  metrics->ObserveCommit(0.2, 1);
  metrics->ObserveDecision(0.00002);
  metrics->CountEvent("submit_sweep");
  metrics->CountSamplesStored(40);
  metrics->CountVerdict("collapse");
  metrics->CountRunFinished("halted");
  metrics->CountLimitReached("max_queued_events");
  metrics->SetDiskFree(1000);
  const auto series = Scrape(metrics->port());
  EXPECT_EQ(series.at(R"(entrain_runs{state="running"})"), 3);
  EXPECT_EQ(series.at(R"(entrain_workers{state="live"})"), 2);
  EXPECT_EQ(series.at("entrain_slots"), 8);
  EXPECT_EQ(series.at("entrain_slots_used"), 6);
  EXPECT_EQ(series.at("entrain_commit_seconds_count"), 2);
  EXPECT_NEAR(series.at("entrain_commit_seconds_sum"), 0.202, 1e-9);
  EXPECT_EQ(series.at(R"(entrain_commit_seconds_bucket{le="0.0025"})"), 1);
  EXPECT_EQ(series.at("entrain_committed_facts_total"), 6);
  EXPECT_EQ(series.at(R"(entrain_decision_seconds_bucket{le="2.5e-05"})"), 1);
  EXPECT_EQ(series.at(R"(entrain_events_total{kind="submit_sweep"})"), 1);
  EXPECT_EQ(series.at("entrain_samples_stored_total"), 40);
  EXPECT_EQ(series.at(R"(entrain_verdicts_total{reason="collapse"})"), 1);
  EXPECT_EQ(series.at(R"(entrain_runs_finished_total{state="halted"})"), 1);
  EXPECT_EQ(series.at(R"(entrain_limits_reached_total{limit="max_queued_events"})"), 1);
  EXPECT_EQ(series.at("entrain_coordinator_disk_free_bytes"), 1000);
  const std::string path = testing::TempDir() + "/coordinator_exposition.txt";
  std::ofstream(path) << HttpGet(metrics->port(), "/metrics").body;
  EXPECT_EQ(std::system(("promtool check metrics < " + path).c_str()), 0);
}

TEST(CoordinatorMetricsTest, ATakenAddressIsNamed) {
  auto metrics = CoordinatorMetrics::Serve("127.0.0.1:0").value();
  const std::string taken = "127.0.0.1:" + std::to_string(metrics->port());
  const auto second = CoordinatorMetrics::Serve(taken);
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.status().message().find(taken), absl::string_view::npos);
}

}  // namespace
}  // namespace entrain::metrics
