// Every query of every dashboard panel, asked of a real Prometheus that scrapes a real sweep in which the rare events happen too.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/strings.h"
#include "metrics/dashboards.h"
#include "tests/integration/cluster.h"
#include "tests/integration/prometheus.h"

namespace entrain::testing {
namespace {

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) text.replace(at, from.size(), to);
  return text;
}

// Stopped by the collapse rule at once: every head counts as collapsed below the bound itself.
std::string StoppedSweep() {
  return SmallSweep("stopped", "SM+LN+G", 4000, 1) +
         "health:\n  collapse:\n    below_fraction_of_bound: 1\n    observations: 1\n    min_gap_steps: 0\n";
}

std::vector<std::string> Unanswered(const Prometheus& prometheus, const std::string& sweep, const std::string& run) {
  std::vector<std::string> missing;
  for (const metrics::Dashboard& dashboard : metrics::Dashboards()) {
    for (const metrics::Panel& panel : dashboard.panels) {
      for (const metrics::PanelQuery& query : panel.queries) {
        std::string expr = Replaced(Replaced(query.expr, "$sweep", sweep), "$run", run);
        expr = Replaced(expr, "$__rate_interval", "5s");
        if (prometheus.Query(expr).find("=>") == std::string::npos) missing.push_back(StrCat(dashboard.uid, ", ", panel.title, ": ", expr));
      }
    }
  }
  return missing;
}

TEST(Dashboards, NoPanelIsWithoutData) {
  Cluster cluster("dashboards");
  cluster.StartCoordinator();
  cluster.StartWorker("w1", 2);
  const Prometheus prometheus(cluster.root(), {cluster.coordinator_metrics_address(), cluster.worker_metrics_address("w1")},
                              std::string(ENTRAIN_SOURCE_DIR) + "/deploy/prometheus/entrain.rules.yaml");
  cluster.AwaitState(cluster.Submit(StoppedSweep()), "halted");
  const std::string sweep = cluster.Submit(SmallSweep("observed", "EReg(SM+ScFuFFN)", 100000, 2));
  const auto run = cluster.AwaitStep(sweep, 60);
  std::vector<std::string> missing;
  EXPECT_TRUE(Eventually([&] {
    missing = Unanswered(prometheus, "observed", run.id());
    return missing.empty();
  })) << ::testing::PrintToString(missing);
  const std::string verdicts = prometheus.Query("entrain_verdicts_total{reason=\"collapse\"} == 1");
  EXPECT_NE(verdicts.find("=>"), std::string::npos) << verdicts;
}

}  // namespace
}  // namespace entrain::testing
