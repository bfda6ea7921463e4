#include "metrics/coordinator_metrics.h"

#include <cstdlib>
#include <fstream>
#include <string>

#include "gtest/gtest.h"
#include "tests/metrics/http_get.h"

namespace entrain::metrics {
namespace {

const VerdictLabels kVerdict{.run_id = "r1", .sweep = "small", .label = "SM", .reason = "divergence", .rule = "spike", .action = "pause"};
const char* const kVerdictSeries =
    R"(entrain_run_verdict_timestamp_seconds{action="pause",label="SM",reason="divergence",rule="spike",run="r1",sweep="small"})";

TEST(CoordinatorMetricsTest, KnownSeriesExistAtZeroFromTheStart) {
  ManualClock clock;
  auto metrics = CoordinatorMetrics::Serve("127.0.0.1:0", &clock).value();
  const auto series = Scrape(metrics->port());
  EXPECT_EQ(series.at(R"(entrain_runs{state="halted"})"), 0);
  EXPECT_EQ(CountWithPrefix(series, "entrain_runs{"), 10u);
  EXPECT_EQ(series.at(R"(entrain_workers{state="silent"})"), 0);
  EXPECT_EQ(series.at(R"(entrain_verdicts_total{action="rescue",reason="collapse",rule="collapse.cascade"})"), 0);
  EXPECT_EQ(CountWithPrefix(series, "entrain_verdicts_total{"), 60u);
  EXPECT_EQ(CountWithPrefix(series, "entrain_run_verdict_timestamp_seconds"), 0u);
  EXPECT_EQ(series.at(R"(entrain_limits_reached_total{limit="webhook"})"), 0);
  EXPECT_EQ(series.at("entrain_queue_wait_seconds_count"), 0);
  EXPECT_EQ(series.at(R"(entrain_events_total{kind="tick"})"), 0);
  EXPECT_EQ(series.at(R"(entrain_commit_seconds_count)"), 0);
  EXPECT_EQ(CountWithPrefix(series, "entrain_coordinator_disk_free_bytes"), 0u);
}

TEST(CoordinatorMetricsTest, CountsWhatItIsTold) {
  ManualClock clock;
  auto metrics = CoordinatorMetrics::Serve("127.0.0.1:0", &clock).value();
  metrics->SetRunsInState("running", 3);
  metrics->SetWorkersInState("live", 2);
  metrics->SetSlots(8, 6);
  metrics->ObserveCommit(0.002, 5);
  metrics->ObserveCommit(0.2, 1);
  metrics->ObserveDecision(0.00002);
  metrics->CountEvent("submit_sweep");
  metrics->CountSamplesStored(40);
  metrics->CountVerdict(kVerdict);
  metrics->ObserveQueueWait(12);
  metrics->ObserveGangStart(0.7);
  metrics->CountRunFinished("halted");
  metrics->CountLimitReached("max_queued_events");
  metrics->SetDiskFree(1000);
  metrics->SetPoolMachines("hpc", "up", 4);
  metrics->CountPoolFailures("hpc", 0);
  metrics->CountPoolFailures("hpc", 2);
  const auto series = Scrape(metrics->port());
  EXPECT_EQ(series.at(R"(entrain_runs{state="running"})"), 3);
  EXPECT_EQ(series.at(R"(entrain_workers{state="live"})"), 2);
  EXPECT_EQ(series.at("entrain_slots"), 8);
  EXPECT_EQ(series.at(R"(entrain_pool_machines{pool="hpc",state="up"})"), 4);
  EXPECT_EQ(series.at(R"(entrain_pool_failures_total{pool="hpc"})"), 2);
  EXPECT_EQ(series.at("entrain_slots_used"), 6);
  EXPECT_EQ(series.at("entrain_commit_seconds_count"), 2);
  EXPECT_NEAR(series.at("entrain_commit_seconds_sum"), 0.202, 1e-9);
  EXPECT_EQ(series.at(R"(entrain_commit_seconds_bucket{le="0.0025"})"), 1);
  EXPECT_EQ(series.at("entrain_committed_facts_total"), 6);
  EXPECT_EQ(series.at(R"(entrain_decision_seconds_bucket{le="2.5e-05"})"), 1);
  EXPECT_EQ(series.at(R"(entrain_events_total{kind="submit_sweep"})"), 1);
  EXPECT_EQ(series.at("entrain_samples_stored_total"), 40);
  EXPECT_EQ(series.at(R"(entrain_verdicts_total{action="pause",reason="divergence",rule="spike"})"), 1);
  EXPECT_EQ(series.at(kVerdictSeries), 1'700'000'000);
  EXPECT_EQ(series.at(R"(entrain_queue_wait_seconds_bucket{le="5"})"), 0);
  EXPECT_EQ(series.at(R"(entrain_queue_wait_seconds_bucket{le="15"})"), 1);
  EXPECT_EQ(series.at("entrain_gang_start_seconds_sum"), 0.7);
  EXPECT_EQ(series.at(R"(entrain_runs_finished_total{state="halted"})"), 1);
  EXPECT_EQ(series.at(R"(entrain_limits_reached_total{limit="max_queued_events"})"), 1);
  EXPECT_EQ(series.at("entrain_coordinator_disk_free_bytes"), 1000);
  const std::string path = testing::TempDir() + "/coordinator_exposition.txt";
  std::ofstream(path) << HttpGet(metrics->port(), "/metrics").body;
  EXPECT_EQ(std::system(("promtool check metrics < " + path).c_str()), 0);
}

TEST(CoordinatorMetricsTest, AVerdictsOwnSeriesEnds) {
  ManualClock clock;
  auto metrics = CoordinatorMetrics::Serve("127.0.0.1:0", &clock).value();
  metrics->CountVerdict(kVerdict);
  clock.Advance(CoordinatorMetrics::kVerdictSeriesMs - 1);
  EXPECT_TRUE(Scrape(metrics->port()).contains(kVerdictSeries));
  // The same rule spoke again: its series shows the newer time and lives on.
  metrics->CountVerdict(kVerdict);
  clock.Advance(1);
  EXPECT_NEAR(Scrape(metrics->port()).at(kVerdictSeries), 1700000599.999, 1e-3);
  clock.Advance(CoordinatorMetrics::kVerdictSeriesMs - 1);
  EXPECT_FALSE(Scrape(metrics->port()).contains(kVerdictSeries));
  EXPECT_EQ(Scrape(metrics->port()).at(R"(entrain_verdicts_total{action="pause",reason="divergence",rule="spike"})"), 2);
}

TEST(CoordinatorMetricsTest, VerdictsSeriesAreBounded) {
  ManualClock clock;
  auto metrics = CoordinatorMetrics::Serve("127.0.0.1:0", &clock).value();
  for (std::size_t i = 0; i < kMaxVerdictSeries + 3; ++i) {
    VerdictLabels verdict = kVerdict;
    verdict.run_id = "r" + std::to_string(i);
    metrics->CountVerdict(verdict);
  }
  const auto series = Scrape(metrics->port());
  EXPECT_EQ(CountWithPrefix(series, "entrain_run_verdict_timestamp_seconds"), kMaxVerdictSeries);
  EXPECT_EQ(series.at(R"(entrain_limits_reached_total{limit="verdict_series"})"), 3);
  EXPECT_FALSE(series.contains(kVerdictSeries));
}

TEST(CoordinatorMetricsTest, ATakenAddressIsNamed) {
  ManualClock clock;
  auto metrics = CoordinatorMetrics::Serve("127.0.0.1:0", &clock).value();
  const std::string taken = "127.0.0.1:" + std::to_string(metrics->port());
  const auto second = CoordinatorMetrics::Serve(taken, &clock);
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.status().message().find(taken), absl::string_view::npos);
}

}  // namespace
}  // namespace entrain::metrics
