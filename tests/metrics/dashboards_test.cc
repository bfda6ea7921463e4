#include "metrics/dashboards.h"

#include <cstdlib>
#include <regex>
#include <set>
#include <string>

#include "base/files.h"
#include "base/strings.h"
#include "gtest/gtest.h"
#include "metrics/rules.h"
#include "nlohmann/json.hpp"

namespace entrain::metrics {
namespace {

const std::string kFolder = std::string(ENTRAIN_SOURCE_DIR) + "/deploy/grafana/dashboards/";

TEST(DashboardsTest, FilesAreThoseOfTheTable) {
  for (const Dashboard& dashboard : Dashboards()) {
    const std::string path = StrCat(kFolder, dashboard.uid, ".json");
    if (std::getenv("ENTRAIN_REGENERATE") != nullptr) {
      ASSERT_TRUE(WriteFileAtomically(path, DashboardJson(dashboard)).ok());
    }
    const auto file = ReadFile(path);
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_EQ(*file, DashboardJson(dashboard)) << "run dashboards_test with ENTRAIN_REGENERATE=1";
  }
}

TEST(DashboardsTest, QueriesNameOnlyWhatExists) {
  std::set<std::string> known;
  for (const Metric& metric : AllMetrics()) {
    known.insert(std::string(metric.name));
    if (metric.type == MetricType::kHistogram) known.insert(StrCat(metric.name, "_bucket"));
  }
  for (const RecordingRule& rule : RecordingRules()) known.insert(rule.record);
  const std::regex name("entrain[:_][a-z0-9_:]+");
  for (const Dashboard& dashboard : Dashboards()) {
    for (const Panel& panel : dashboard.panels) {
      ASSERT_FALSE(panel.queries.empty()) << panel.title;
      for (const PanelQuery& query : panel.queries) {
        EXPECT_EQ(query.expr.find("or vector("), std::string::npos) << panel.title;
        for (auto it = std::sregex_iterator(query.expr.begin(), query.expr.end(), name); it != std::sregex_iterator(); ++it) {
          EXPECT_TRUE(known.contains(it->str())) << it->str() << " in " << panel.title;
        }
      }
    }
  }
}

// What Grafana's dashboard types demand of a panel, and what a person demands: nothing overlaps, nothing hangs over the edge.
TEST(DashboardsTest, PanelsAreCompleteAndDoNotOverlap) {
  std::set<std::string> uids;
  for (const Dashboard& dashboard : Dashboards()) {
    EXPECT_TRUE(uids.insert(dashboard.uid).second) << dashboard.uid;
    const auto json = nlohmann::json::parse(DashboardJson(dashboard));
    EXPECT_TRUE(json.at("schemaVersion").is_number_integer());
    std::set<std::pair<int, int>> taken;
    std::set<int> ids;
    for (const auto& panel : json.at("panels")) {
      EXPECT_TRUE(ids.insert(panel.at("id").get<int>()).second) << panel.at("title");
      EXPECT_FALSE(panel.at("description").get<std::string>().empty()) << panel.at("title");
      const auto& place = panel.at("gridPos");
      EXPECT_LE(place.at("x").get<int>() + place.at("w").get<int>(), 24) << panel.at("title");
      for (int x = place.at("x"); x < place.at("x").get<int>() + place.at("w").get<int>(); ++x) {
        for (int y = place.at("y"); y < place.at("y").get<int>() + place.at("h").get<int>(); ++y) {
          EXPECT_TRUE(taken.emplace(x, y).second) << panel.at("title") << " overlaps at " << x << "," << y;
        }
      }
      for (const auto& target : panel.at("targets")) {
        EXPECT_EQ(target.at("datasource").at("uid"), "${datasource}");
        EXPECT_NE(target.at("instant"), target.at("range")) << panel.at("title");
      }
    }
  }
}

}  // namespace
}  // namespace entrain::metrics
