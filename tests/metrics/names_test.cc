#include "metrics/names.h"

#include <cctype>
#include <cstdlib>
#include <regex>
#include <set>
#include <string>

#include "base/files.h"
#include "domain/event.h"
#include "domain/health_rules.h"
#include "domain/run_state.h"
#include "gtest/gtest.h"

namespace entrain::metrics {
namespace {

TEST(NamesTest, NamesAreUniqueAndFollowTheConventions) {
  std::set<std::string_view> names;
  for (const Metric& metric : AllMetrics()) {
    EXPECT_TRUE(names.insert(metric.name).second) << metric.name;
    EXPECT_TRUE(metric.name.starts_with("entrain_")) << metric.name;
    EXPECT_EQ(metric.type == MetricType::kCounter, metric.name.ends_with("_total")) << metric.name;
    EXPECT_EQ(metric.type == MetricType::kHistogram, !metric.buckets.empty()) << metric.name;
    EXPECT_TRUE(metric.help.ends_with(".")) << metric.name;
    if (metric.unit.starts_with("nats")) {
      EXPECT_TRUE(metric.name.ends_with("_nats")) << metric.name;
    }
    if (metric.unit == "seconds") {
      EXPECT_TRUE(metric.name.ends_with("_seconds")) << metric.name;
    }
    if (metric.unit == "bytes") {
      EXPECT_TRUE(metric.name.ends_with(metric.type == MetricType::kCounter ? "_bytes_total" : "_bytes")) << metric.name;
    }
    EXPECT_EQ(&Describe(metric.id), &metric);
  }
}

TEST(NamesTest, KnownStatesAndReasonsAreThoseOfTheDomain) {
  EXPECT_EQ(KnownValues(MetricId::kRuns).size(), 10u);
  for (std::string_view state : KnownValues(MetricId::kRuns)) EXPECT_TRUE(domain::ParseRunState(state)) << state;
  for (std::string_view state : KnownValues(MetricId::kRunsFinished)) {
    EXPECT_TRUE(domain::IsFinal(domain::ParseRunState(state).value())) << state;
  }
  for (const KnownRule& known : KnownRules()) EXPECT_TRUE(domain::ParseHaltReason(known.reason)) << known.reason;
  EXPECT_EQ(KnownActions().size(), 5u);
  for (std::string_view action : KnownActions()) EXPECT_TRUE(domain::ParseRuleAction(action)) << action;
  EXPECT_EQ(KnownValues(MetricId::kEvents).size(), std::variant_size_v<decltype(domain::Event::body)>);
}

// Its table says "non_finite" where the rules are "non_finite.loss" and so on.
TEST(NamesTest, KnownRulesAreThoseOfThePolicyPage) {
  const std::string page = ReadFile(std::string(ENTRAIN_SOURCE_DIR) + "/docs/policy.md").value_or("");
  std::set<std::string> documented;
  const std::regex row("\\n\\| `([a-z_.]+)` \\| ");
  const std::string rules = page.substr(0, page.find("## Actions"));
  for (auto it = std::sregex_iterator(rules.begin(), rules.end(), row); it != std::sregex_iterator(); ++it) documented.insert((*it)[1]);
  std::set<std::string> known;
  for (const KnownRule& one : KnownRules()) known.insert(std::string(one.rule.starts_with("non_finite") ? "non_finite" : one.rule));
  EXPECT_EQ(known, documented);
}

// ENTRAIN_REGENERATE=1 writes the page instead.
TEST(NamesTest, DocumentationIsThatOfTheTable) {
  const std::string path = std::string(ENTRAIN_SOURCE_DIR) + "/docs/metrics.md";
  if (std::getenv("ENTRAIN_REGENERATE") != nullptr) {
    ASSERT_TRUE(WriteFileAtomically(path, MetricsMarkdown()).ok());
  }
  const auto page = ReadFile(path);
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_EQ(*page, MetricsMarkdown()) << "run metrics_test with ENTRAIN_REGENERATE=1";
}

}  // namespace
}  // namespace entrain::metrics
