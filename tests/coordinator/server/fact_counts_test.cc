#include "coordinator/server/fact_counts.h"

#include <gtest/gtest.h>

#include "coordinator/core/core.h"
#include "tests/metrics/http_get.h"

namespace entrain::server {
namespace {

using metrics::Scrape;

class FactCountsTest : public testing::Test {
 protected:
  void Add(std::int64_t at_ms, decltype(domain::Fact::body) body) {
    const domain::Fact fact{at_ms, 0, std::move(body)};
    if (std::holds_alternative<domain::SweepAdmitted>(fact.body)) core::Apply(&state_, fact);
    counts_.Add({fact}, state_, metrics_.get());
  }
  double Of(const std::string& series) { return Scrape(metrics_->port()).at(series); }

  void Admit(std::int64_t at_ms) {
    domain::SweepAdmitted admitted;
    admitted.sweep = SweepId("s1");
    admitted.spec.name = "small";
    for (const char* cell : {"c1", "c2"}) {
      domain::RunSpec run;
      run.cell = CellId(cell);
      run.label = cell;
      run.steps = 10;
      run.n_layer = run.n_head = 1;
      run.context = 16;
      admitted.spec.runs.push_back(run);
    }
    Add(at_ms, admitted);
  }

  static domain::AttemptKey Key(const char* cell) { return {domain::MakeRunId(SweepId("s1"), CellId(cell), 1), 1}; }

  ManualClock clock_;
  std::unique_ptr<metrics::CoordinatorMetrics> metrics_ = metrics::CoordinatorMetrics::Serve("127.0.0.1:0", &clock_).value();
  core::State state_{core::CoreConfig{}};
  FactCounts counts_;
};

TEST_F(FactCountsTest, WaitsAreFromTheQueueToAPlaceAndFromThereToTheGang) {
  Admit(1'000);
  Add(3'000, domain::RunPlaced{Key("c1"), {}, {}});
  Add(4'500, domain::RunStarted{Key("c1")});
  Add(61'000, domain::RunPlaced{Key("c2"), {}, {}});
  EXPECT_EQ(Of("entrain_queue_wait_seconds_count"), 2);
  EXPECT_EQ(Of("entrain_queue_wait_seconds_sum"), 62);
  EXPECT_EQ(Of("entrain_gang_start_seconds_count"), 1);
  EXPECT_EQ(Of("entrain_gang_start_seconds_sum"), 1.5);
}

TEST_F(FactCountsTest, AReQueuedRunWaitsFromWhenItMayGoAndAPausedOneDoesNotWait) {
  Admit(0);
  Add(0, domain::RunPlaced{Key("c1"), {}, {}});
  domain::RunRequeued requeued{.run = Key("c1").run};
  requeued.not_before_ms = 30'000;
  Add(10'000, requeued);
  Add(35'000, domain::RunPlaced{Key("c1"), {}, {}});
  EXPECT_EQ(Of("entrain_queue_wait_seconds_sum"), 5);
  Add(40'000, domain::RunPaused{Key("c1").run, "", false});
  Add(90'000, domain::RunStarted{Key("c1")});
  EXPECT_EQ(Of("entrain_gang_start_seconds_count"), 0);
  Add(100'000, domain::RunResumed{Key("c1").run, "ada"});
  Add(101'000, domain::RunPlaced{Key("c1"), {}, {}});
  EXPECT_EQ(Of("entrain_queue_wait_seconds_sum"), 6);
}

TEST_F(FactCountsTest, AWaitThatBeganBeforeThisProcessIsNotObserved) {
  Add(1'000, domain::RunPlaced{Key("c1"), {}, {}});
  EXPECT_EQ(Of("entrain_queue_wait_seconds_count"), 0);
}

TEST_F(FactCountsTest, VerdictsAndEndsCarryWhatPeopleKnowTheRunBy) {
  Admit(0);
  domain::VerdictRecorded recorded;
  recorded.run = Key("c2").run;
  recorded.verdict.reason = domain::HaltReason::kDivergence;
  recorded.verdict.rule = "max_score";
  recorded.verdict.action = domain::RuleAction::kRescue;
  Add(5, recorded);
  domain::RunFinished finished;
  finished.run = Key("c2").run;
  finished.state = domain::RunState::kHalted;
  Add(6, finished);
  EXPECT_EQ(Of(R"(entrain_verdicts_total{action="rescue",reason="divergence",rule="max_score"})"), 1);
  EXPECT_EQ(Of(R"(entrain_runs_finished_total{state="halted"})"), 1);
  EXPECT_EQ(Of("entrain_run_verdict_timestamp_seconds{action=\"rescue\",label=\"c2\",reason=\"divergence\",rule=\"max_score\",run=\"" +
               Key("c2").run.value() + "\",sweep=\"small\"}"),
            1'700'000'000);
}

}  // namespace
}  // namespace entrain::server
