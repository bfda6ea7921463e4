#include "metrics/rules.h"

#include <cstdlib>
#include <regex>
#include <set>
#include <string>

#include "base/files.h"
#include "base/strings.h"
#include "gtest/gtest.h"

namespace entrain::metrics {
namespace {

const std::string kRoot = ENTRAIN_SOURCE_DIR;
const std::string kRulesFile = kRoot + "/deploy/prometheus/entrain.rules.yaml";

// Exit status of promtool with both outputs in `log`.
int Promtool(const std::string& arguments, std::string* log) {
  const std::string path = testing::TempDir() + "promtool.log";
  const int status = std::system(StrCat("promtool ", arguments, " >'", path, "' 2>&1").c_str());
  *log = ReadFile(path).value_or("no output");
  return status;
}

TEST(RulesTest, FileIsThatOfTheTable) {
  if (std::getenv("ENTRAIN_REGENERATE") != nullptr) {
    ASSERT_TRUE(WriteFileAtomically(kRulesFile, PrometheusRulesYaml()).ok());
  }
  const auto file = ReadFile(kRulesFile);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(*file, PrometheusRulesYaml()) << "run rules_test with ENTRAIN_REGENERATE=1";
}

TEST(RulesTest, PrometheusAcceptsThem) {
  std::string log;
  EXPECT_EQ(Promtool(StrCat("check rules '", kRulesFile, "'"), &log), 0) << log;
}

TEST(RulesTest, EveryAlertFiresWhenItShouldAndOnlyThen) {
  std::string log;
  EXPECT_EQ(Promtool(StrCat("test rules '", kRoot, "/tests/metrics/rules.test.yaml'"), &log), 0) << log;
}

// Each alert has at least one case that fires and one that does not.
TEST(RulesTest, NoAlertIsUntested) {
  const std::string cases = ReadFile(kRoot + "/tests/metrics/rules.test.yaml").value_or("");
  for (const AlertRule& alert : AlertRules()) {
    for (const char* outcome : {"value: 1", "exp_samples: \\[\\]"}) {
      const std::regex wanted(StrCat("alertname=\"", alert.name, "\"[^\\n]*\\n[^\\n]*eval_time[^\\n]*\\n[^\\n]*", outcome));
      EXPECT_TRUE(std::regex_search(cases, wanted)) << alert.name << " has no case with " << outcome;
    }
  }
}

TEST(RulesTest, NoRecordingIsUntested) {
  const std::string cases = ReadFile(kRoot + "/tests/metrics/rules.test.yaml").value_or("");
  for (const RecordingRule& rule : RecordingRules()) {
    EXPECT_TRUE(std::regex_search(cases, std::regex(StrCat("- expr: '[^\n]*", rule.record)))) << rule.record;
  }
}

// The configuration in deploy/ reads the rules and sends to an Alertmanager.
TEST(RulesTest, PrometheusAcceptsTheConfiguration) {
  std::string log;
  const std::string path = kRoot + "/deploy/prometheus/prometheus.yaml";
  EXPECT_EQ(Promtool(StrCat("check config '", path, "'"), &log), 0) << log;
  EXPECT_NE(log.find("rules found"), std::string::npos) << log;
  EXPECT_NE(ReadFile(path).value_or("").find("alertmanagers:"), std::string::npos);
}

TEST(RulesTest, EveryAlertHasItsAnswerInTheRunbook) {
  const std::string runbook = ReadFile(kRoot + "/docs/runbook.md").value_or("");
  for (const AlertRule& alert : AlertRules()) EXPECT_NE(runbook.find(StrCat("## ", alert.name, "\n")), std::string::npos) << alert.name;
}

// A rule may only name metrics of the table and rules recorded before it.
TEST(RulesTest, RulesNameOnlyWhatExists) {
  std::set<std::string> known;
  for (const Metric& metric : AllMetrics()) {
    known.insert(std::string(metric.name));
    if (metric.type == MetricType::kHistogram) known.insert(StrCat(metric.name, "_bucket"));
  }
  const auto check = [&](const std::string& expr) {
    const std::regex name("entrain[:_][a-z0-9_:]+");
    for (auto it = std::sregex_iterator(expr.begin(), expr.end(), name); it != std::sregex_iterator(); ++it) {
      EXPECT_TRUE(known.contains(it->str())) << it->str() << " in " << expr;
    }
  };
  for (const RecordingRule& rule : RecordingRules()) {
    check(rule.expr);
    known.insert(rule.record);
  }
  for (const AlertRule& alert : AlertRules()) check(alert.expr);
}

}  // namespace
}  // namespace entrain::metrics
