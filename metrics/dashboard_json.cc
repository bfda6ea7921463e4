#include <algorithm>
#include <climits>
#include <tuple>
#include <utility>

#include <nlohmann/json.hpp>

#include "metrics/dashboards.h"

namespace entrain::metrics {
namespace {

using Json = nlohmann::ordered_json;
using enum PanelKind;

constexpr int kSchemaVersion = 39;
constexpr int kGridWidth = 24;

Json DataSource() { return {{"type", "prometheus"}, {"uid", "${datasource}"}}; }

std::string TypeOf(PanelKind kind) {
  switch (kind) {
    case kTimeSeries:
    case kStacked:
      return "timeseries";
    case kStat:
      return "stat";
    case kTable:
    case kMatrix:
      return "table";
    case kBarGauge:
      return "bargauge";
    case kHeatRows:
      return "status-history";
  }
  return "timeseries";
}

bool IsTable(PanelKind kind) { return kind == kTable || kind == kMatrix; }

// The newest value alone is asked for where no time axis is drawn.
bool Instant(PanelKind kind) { return kind == kStat || kind == kBarGauge || IsTable(kind); }

Json Targets(const Panel& panel) {
  Json targets = Json::array();
  char ref = 'A';
  for (const PanelQuery& query : panel.queries) {
    targets.push_back({{"refId", std::string(1, ref++)},
                       {"datasource", DataSource()},
                       {"expr", query.expr},
                       {"legendFormat", query.legend},
                       {"instant", Instant(panel.kind)},
                       {"range", !Instant(panel.kind)},
                       {"format", IsTable(panel.kind) ? "table" : "time_series"}});
  }
  return targets;
}

void SetShareRange(Json* defaults) {
  (*defaults)["min"] = 0;
  (*defaults)["max"] = 1;
}

Json FieldDefaults(const Panel& panel) {
  Json defaults = {{"unit", panel.unit}};
  if (!panel.without_data.empty()) defaults["noValue"] = panel.without_data;
  const bool share = panel.unit == "percentunit";
  if (panel.kind == kHeatRows) {
    SetShareRange(&defaults);
    defaults["color"] = {{"mode", "continuous-viridis"}};
    defaults["custom"] = {{"fillOpacity", 100}, {"lineWidth", 0}};
  } else if (panel.kind == kStacked) {
    defaults["custom"] = {{"fillOpacity", 60}, {"stacking", {{"mode", "normal"}, {"group", "A"}}}};
  } else if (panel.kind == kMatrix) {
    SetShareRange(&defaults);
    defaults["color"] = {{"mode", "continuous-blues"}};
    defaults["custom"] = {{"align", "auto"}, {"inspect", false}, {"cellOptions", {{"type", "color-background"}, {"mode", "basic"}}}};
  } else if (share && panel.kind != kTable) {
    SetShareRange(&defaults);
  }
  return defaults;
}

// What a table calls its query's values.
std::string ColumnOf(const Panel& panel, std::size_t index) {
  return panel.queries.size() == 1 ? std::string("Value") : std::string("Value #") + static_cast<char>('A' + index);
}

// Columns with a unit of their own.
Json Overrides(const Panel& panel) {
  Json overrides = Json::array();
  for (const PanelQuery& query : panel.queries) {
    if (query.unit.empty()) continue;
    overrides.push_back({{"matcher", {{"id", "byName"}, {"options", query.legend}}},
                         {"properties", Json::array({{{"id", "unit"}, {"value", query.unit}}})}});
  }
  return overrides;
}

Json Transformations(const Panel& panel) {
  Json list = Json::array();
  if (panel.kind == kMatrix) {
    list.push_back({{"id", "groupingToMatrix"},
                    {"options", {{"rowField", panel.row_label}, {"columnField", panel.column_label}, {"valueField", "Value"}}}});
  } else if (panel.kind == kTable) {
    Json names = Json::object();
    for (std::size_t i = 0; i < panel.queries.size(); ++i) names[ColumnOf(panel, i)] = panel.queries[i].legend;
    list.push_back({{"id", "merge"}, {"options", Json::object()}});
    list.push_back({{"id", "organize"},
                    {"options", {{"excludeByName", {{"Time", true}}}, {"indexByName", Json::object()}, {"renameByName", names}}}});
  }
  return list;
}

Json Legend(bool shown) {
  return {{"displayMode", "list"}, {"placement", "bottom"}, {"showLegend", shown}, {"calcs", Json::array()}};
}

Json Tooltip() { return {{"mode", "multi"}, {"sort", "desc"}}; }

Json Newest() { return {{"calcs", {"lastNotNull"}}, {"fields", ""}, {"values", false}}; }

Json StatOptions() {
  return {{"reduceOptions", Newest()}, {"textMode", "value_and_name"}, {"colorMode", "none"}, {"graphMode", "none"},
          {"justifyMode", "auto"}, {"orientation", "auto"}, {"wideLayout", true}, {"showPercentChange", false},
          {"percentChangeColorMode", "standard"}};
}

Json BarGaugeOptions() {
  return {{"reduceOptions", Newest()}, {"orientation", "horizontal"}, {"displayMode", "basic"}, {"valueMode", "color"},
          {"namePlacement", "auto"}, {"showUnfilled", true}, {"sizing", "auto"}, {"minVizWidth", 8}, {"minVizHeight", 16},
          {"maxVizHeight", 300}, {"legend", Legend(false)}};
}

Json TableOptions(const Panel& panel) {
  Json options = {{"showHeader", true}, {"frameIndex", 0}};
  if (panel.kind == kTable) {
    const bool newest_first = panel.unit == "dateTimeAsIso";
    options["sortBy"] = Json::array({{{"displayName", panel.queries[0].legend}, {"desc", newest_first}}});
  }
  return options;
}

Json Options(const Panel& panel) {
  switch (panel.kind) {
    case kTimeSeries:
    case kStacked:
      return {{"legend", Legend(true)}, {"tooltip", Tooltip()}};
    case kStat:
      return StatOptions();
    case kBarGauge:
      return BarGaugeOptions();
    case kHeatRows:
      return {{"showValue", "never"}, {"rowHeight", 0.95}, {"colWidth", 1}, {"legend", Legend(false)}, {"tooltip", Tooltip()}};
    case kTable:
    case kMatrix:
      return TableOptions(panel);
  }
  return Json::object();
}

Json PanelJson(const Panel& panel, int id, int x, int y) {
  Json json = {{"id", id},
               {"type", TypeOf(panel.kind)},
               {"title", panel.title},
               {"description", panel.description},
               {"datasource", DataSource()},
               {"gridPos", {{"x", x}, {"y", y}, {"w", panel.width}, {"h", panel.height}}},
               {"fieldConfig", {{"defaults", FieldDefaults(panel)}, {"overrides", Overrides(panel)}}},
               {"options", Options(panel)},
               {"targets", Targets(panel)}};
  const Json transformations = Transformations(panel);
  if (!transformations.empty()) json["transformations"] = transformations;
  return json;
}

// Where a panel of this size fits first in a grid of columns filled to `heights`: the highest place, the leftmost of these.
std::pair<int, int> PlaceFor(const std::vector<int>& heights, int width) {
  int best_x = 0;
  int best_y = INT_MAX;
  for (int x = 0; x + width <= kGridWidth; ++x) {
    const int y = *std::max_element(heights.begin() + x, heights.begin() + x + width);
    if (y < best_y) std::tie(best_x, best_y) = std::pair(x, y);
  }
  return {best_x, best_y};
}

Json PanelsJson(const std::vector<Panel>& panels) {
  Json list = Json::array();
  std::vector<int> heights(kGridWidth, 0);
  for (const Panel& panel : panels) {
    const auto [x, y] = PlaceFor(heights, panel.width);
    std::fill_n(heights.begin() + x, panel.width, y + panel.height);
    list.push_back(PanelJson(panel, static_cast<int>(list.size()) + 1, x, y));
  }
  return list;
}

Json VariablesJson(const std::vector<Variable>& variables) {
  Json list = Json::array();
  list.push_back({{"name", "datasource"}, {"label", "Prometheus"}, {"type", "datasource"}, {"query", "prometheus"}, {"hide", 0}});
  for (const Variable& variable : variables) {
    list.push_back({{"name", variable.name},
                    {"label", variable.label},
                    {"type", "query"},
                    {"datasource", DataSource()},
                    {"query", {{"query", variable.query}, {"refId", variable.name}}},
                    {"refresh", 2},
                    {"sort", 1},
                    {"multi", false},
                    {"includeAll", false},
                    {"hide", 0}});
  }
  return list;
}

// A line at every verdict's time.
Json VerdictAnnotations(const Dashboard& dashboard) {
  const Json verdicts = {{"name", "Verdicts"},
                         {"datasource", DataSource()},
                         {"enable", true},
                         {"iconColor", "red"},
                         {"expr", dashboard.annotations},
                         {"useValueForTime", true},
                         {"step", "10s"},
                         {"tagKeys", "rule,action"},
                         {"titleFormat", "{{label}}"},
                         {"textFormat", "{{rule}}: {{action}}"}};
  return {{"list", Json::array({verdicts})}};
}

}  // namespace

std::string DashboardJson(const Dashboard& dashboard) {
  const Json json = {{"uid", dashboard.uid},
                     {"title", dashboard.title},
                     {"description", dashboard.description},
                     {"tags", {"entrain"}},
                     {"schemaVersion", kSchemaVersion},
                     {"version", 1},
                     {"editable", true},
                     {"graphTooltip", 1},
                     {"refresh", "10s"},
                     {"time", {{"from", "now-1h"}, {"to", "now"}}},
                     {"timezone", "browser"},
                     {"links", Json::array({{{"title", "entrain"}, {"type", "dashboards"}, {"tags", {"entrain"}}, {"asDropdown", false},
                                             {"includeVars", true}, {"keepTime", true}, {"icon", "dashboard"}, {"targetBlank", false},
                                             {"tooltip", ""}, {"url", ""}}})},
                     {"annotations", VerdictAnnotations(dashboard)},
                     {"templating", {{"list", VariablesJson(dashboard.variables)}}},
                     {"panels", PanelsJson(dashboard.panels)}};
  return json.dump(2) + "\n";
}

}  // namespace entrain::metrics
