#include "metrics/names.h"

#include <cctype>
#include <cstdlib>
#include <set>
#include <string>

#include "base/files.h"
#include "domain/event.h"
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
    if (metric.unit == "bytes") {
      EXPECT_TRUE(metric.name.ends_with("_bytes")) << metric.name;
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
  EXPECT_EQ(KnownValues(MetricId::kVerdicts).size(), 5u);
  for (std::string_view reason : KnownValues(MetricId::kVerdicts)) EXPECT_TRUE(domain::ParseHaltReason(reason)) << reason;
  EXPECT_EQ(KnownValues(MetricId::kEvents).size(), std::variant_size_v<decltype(domain::Event::body)>);
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
