// Every query of every dashboard, asked of a real Prometheus that scrapes a real sweep; what is rare is asked of sweeps in which it happens.
#include <gtest/gtest.h>

#include <cmath>
#include <iostream>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/strings.h"
#include "metrics/dashboards.h"
#include "metrics/names.h"
#include "metrics/rules.h"
#include "tests/integration/cluster.h"
#include "tests/integration/prometheus.h"

namespace entrain::testing {
namespace {

using metrics::MetricId;
using metrics::NameOf;

const std::string kDeploy = std::string(ENTRAIN_SOURCE_DIR) + "/deploy/";

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) text.replace(at, from.size(), to);
  return text;
}

// A run on which the collapse rule fires at step 61, after its first evaluation: every head counts as collapsed below the bound itself.
std::string JudgedSweep(const std::string& name, const std::string& action, int steps) {
  return SmallSweep(name, "SM+LN+G", steps, 1) + "health:\n  collapse:\n    below_fraction_of_bound: 1\n    observations: 2\n" +
         "    min_gap_steps: 60\n    min_gap_fraction: 0\n    cascade_layers: 0\n    action: " + action + "\n";
}

// A query with what it is about filled in.
struct Question {
  std::string where;
  std::string promql;
};

// What the dashboards' variables stand for.
struct Subject {
  std::string sweep;
  std::string run;
};

std::string About(const Subject& subject, std::string promql) {
  promql = Replaced(Replaced(std::move(promql), "$sweep", subject.sweep), "$run", subject.run);
  return Replaced(Replaced(std::move(promql), "$__rate_interval", "10s"), "$__range", "10m");
}

// label_values(SERIES, LABEL) of a variable, as the query that it stands for.
std::string VariableQuery(const std::string& query) {
  std::smatch parts;
  EXPECT_TRUE(std::regex_match(query, parts, std::regex("label_values\\((.*), (\\w+)\\)"))) << query;
  return StrCat("count by (", parts[2].str(), ") (", parts[1].str(), ")");
}

// Every panel's queries, every variable's and every dashboard's annotations. What speaks of verdicts is about `judged`.
std::vector<Question> Questions(const Subject& subject, const Subject& judged) {
  std::vector<Question> questions;
  const auto ask = [&](const std::string& where, const std::string& promql) {
    const bool rare = promql.find(NameOf(MetricId::kRunVerdict)) != std::string::npos;
    questions.push_back({where, About(rare ? judged : subject, promql)});
  };
  for (const metrics::Dashboard& dashboard : metrics::Dashboards()) {
    for (const metrics::Variable& variable : dashboard.variables) ask(dashboard.uid + ", variable " + variable.name, VariableQuery(variable.query));
    for (const metrics::Panel& panel : dashboard.panels) {
      for (const metrics::PanelQuery& query : panel.queries) ask(StrCat(dashboard.uid, ", ", panel.title), query.expr);
    }
    ask(dashboard.uid + ", annotations", dashboard.annotations);
  }
  return questions;
}

// Some series has a value, and one that is a number.
bool Answered(const std::string& answer) {
  std::istringstream lines(answer);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t arrow = line.find("=> ");
    if (arrow != std::string::npos && !std::isnan(std::stod(line.substr(arrow + 3)))) return true;
  }
  return false;
}

// What has not been answered within the time; each question is asked until it has been once.
std::vector<std::string> Unanswered(const Prometheus& prometheus, std::vector<Question> questions) {
  Eventually([&] {
    std::erase_if(questions, [&](const Question& question) { return Answered(prometheus.Query(question.promql)); });
    return questions.empty();
  });
  std::vector<std::string> missing;
  for (const Question& question : questions) missing.push_back(StrCat(question.where, ": ", question.promql));
  return missing;
}

class Dashboards : public ::testing::Test {
 protected:
  void SetUp() override {
    // An engine that never answers: a pool's series are there all the same.
    const std::string pool = cluster_.root() + "/pool.yaml";
    ASSERT_TRUE(WriteFileAtomically(pool, StrCat("pool: lab\nprovider: slurm\nkind: cpu\nslots: 1\nmax: 3\npoll_seconds: 1\nslurm:\n  worker: /none/entrain-worker\n",
                                                 "  coordinator: [\"localhost:7070\"]\n  bin: ", cluster_.root(), "\n")).ok());
    // What retention measures is served once it has looked.
    cluster_.GiveCoordinator({"--pool", pool, "--retention-interval", "1s"});
    cluster_.StartCoordinator();
    cluster_.StartWorker("w1", 2);
  }
  std::vector<std::string> Targets() { return {cluster_.coordinator_metrics_address(), cluster_.worker_metrics_address("w1")}; }
  bool Holds(const Prometheus& prometheus, const std::string& promql) {
    return Eventually([&] { return Answered(prometheus.Query(promql)); });
  }

  Cluster cluster_{"dashboards"};
};

TEST_F(Dashboards, NoPanelIsWithoutData) {
  const Alertmanager alertmanager(cluster_.root(), kDeploy + "alertmanager/alertmanager.yaml");
  const Prometheus prometheus(cluster_.root(), Targets(), kDeploy + "prometheus/entrain.rules.yaml", alertmanager.address());
  // Before anything happens: an increase needs what was there before it.
  ASSERT_TRUE(Holds(prometheus, std::string(NameOf(MetricId::kQueueWaitSeconds)) + "_count == 0"));
  const auto stopped = cluster_.AwaitState(cluster_.Submit(JudgedSweep("stopped", "stop_and_keep", 4000)), "halted");
  const std::string sweep = cluster_.Submit(SmallSweep("observed", "EReg(SM+ScFuFFN)", 100000, 2));
  const auto run = cluster_.AwaitStep(sweep, 60);
  const std::vector<Question> questions = Questions({"observed", run.id()}, {"stopped", stopped.id()});
  EXPECT_EQ(Unanswered(prometheus, questions), std::vector<std::string>());
  std::cout << questions.size() << " dashboard queries asked\n";

  // The stopped run's series are gone; the leaderboard over the time shown has it still.
  const std::string info = std::string(NameOf(MetricId::kRunInfo)) + "{sweep=\"stopped\"}";
  EXPECT_TRUE(Eventually([&] { return !Answered(prometheus.Query(info)); }));
  for (const metrics::PanelQuery& column : metrics::Dashboards()[1].panels[0].queries) {
    EXPECT_TRUE(Answered(prometheus.Query(About({"stopped", ""}, column.expr)))) << column.legend;
  }

  // Its verdict is an alert that has gone to those who want to know.
  const std::string alert = StrCat("ALERTS{alertname=\"EntrainVerdict\", alertstate=\"firing\", run=\"", stopped.id(), "\"}");
  EXPECT_TRUE(Holds(prometheus, alert));
  std::string received;
  EXPECT_TRUE(Eventually([&] {
    received = alertmanager.Alerts(StrCat("run=", stopped.id()));
    return received.find("\"EntrainVerdict\"") != std::string::npos;
  })) << received;
  EXPECT_NE(received.find("\"research\""), std::string::npos) << received;
}

TEST_F(Dashboards, EveryActionOfARuleIsCounted) {
  const Prometheus prometheus(cluster_.root(), Targets());
  for (const char* action : {"pause", "rescue", "notify", "stop"}) {
    const std::string sweep = cluster_.Submit(JudgedSweep(action, action, 200));
    EXPECT_TRUE(Holds(prometheus, StrCat(NameOf(MetricId::kVerdicts), "{action=\"", action, "\", rule=\"collapse.whole_layer\"} > 0"))) << action;
  }
  EXPECT_TRUE(Holds(prometheus, StrCat(NameOf(MetricId::kRuns), "{state=\"paused\"} == 1")));
  EXPECT_TRUE(Holds(prometheus, StrCat(NameOf(MetricId::kGangStartSeconds), "_count >= 4")));
}

// Our metrics of one process's scrape, by their TYPE lines; the server adds three of its own (exposer_).
std::set<std::string> Exposed(const std::string& address) {
  std::set<std::string> names;
  std::istringstream lines(ScrapeText(address));
  std::string hash, type, name;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    if (words >> hash >> type >> name && hash == "#" && type == "TYPE" && name.starts_with("entrain_")) names.insert(name);
  }
  return names;
}

std::set<std::string> Documented(metrics::Process process) {
  std::set<std::string> names;
  for (const metrics::Metric& metric : metrics::AllMetrics()) {
    if (metric.process == process) names.insert(std::string(metric.name));
  }
  return names;
}

TEST_F(Dashboards, WhatIsServedIsValidAndWhatTheTableSays) {
  cluster_.AwaitState(cluster_.Submit(JudgedSweep("stopped", "stop_and_keep", 4000)), "halted");
  cluster_.AwaitStep(cluster_.Submit(SmallSweep("observed", "EReg(SM+ScFuFFN)", 100000, 2)), 60);
  const std::string coordinator = cluster_.coordinator_metrics_address();
  const std::string worker = cluster_.worker_metrics_address("w1");
  EXPECT_TRUE(Eventually([&] { return Exposed(worker) == Documented(metrics::Process::kWorker); })) << ::testing::PrintToString(Exposed(worker));
  EXPECT_TRUE(Eventually([&] { return Exposed(coordinator) == Documented(metrics::Process::kCoordinator); }))
      << ::testing::PrintToString(Exposed(coordinator));
  EXPECT_EQ(CheckMetrics(coordinator), "");
  EXPECT_EQ(CheckMetrics(worker), "");
}

}  // namespace
}  // namespace entrain::testing
