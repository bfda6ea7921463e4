#include <nlohmann/json.hpp>

#include "metrics/dashboards.h"
#include "metrics/query.h"

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
    case kStacked: return "timeseries";
    case kStat: return "stat";
    case kTable: return "table";
    case kBarGauge: return "bargauge";
    case kHeatRows: return "status-history";
  }
  return "timeseries";
}

// The newest value alone is asked for where no time axis is drawn.
bool Instant(PanelKind kind) { return kind == kStat || kind == kTable || kind == kBarGauge; }

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
                       {"format", panel.kind == kTable ? "table" : "time_series"}});
  }
  return targets;
}

Json FieldDefaults(const Panel& panel) {
  Json defaults = {{"unit", panel.unit}};
  if (panel.kind == kHeatRows) {
    defaults["min"] = 0;
    defaults["max"] = 1;
    defaults["color"] = {{"mode", "continuous-viridis"}};
    defaults["custom"] = {{"fillOpacity", 100}, {"lineWidth", 0}};
  } else if (panel.kind == kStacked) {
    defaults["custom"] = {{"fillOpacity", 60}, {"stacking", {{"mode", "normal"}, {"group", "A"}}}};
  } else if (panel.kind == kBarGauge && panel.unit == "percentunit") {
    defaults["min"] = 0;
    defaults["max"] = 1;
  }
  return defaults;
}

Json Options(PanelKind kind) {
  const Json newest = {{"calcs", {"lastNotNull"}}, {"fields", ""}, {"values", false}};
  switch (kind) {
    case kTimeSeries:
    case kStacked:
      return {{"legend", {{"displayMode", "list"}, {"placement", "bottom"}, {"showLegend", true}}},
              {"tooltip", {{"mode", "multi"}, {"sort", "desc"}}}};
    case kStat: return {{"reduceOptions", newest}, {"textMode", "value_and_name"}, {"colorMode", "none"}, {"graphMode", "none"}};
    case kBarGauge: return {{"reduceOptions", newest}, {"orientation", "horizontal"}, {"displayMode", "basic"}};
    case kHeatRows:
      return {{"showValue", "never"}, {"rowHeight", 0.95}, {"colWidth", 1}, {"legend", {{"showLegend", false}, {"displayMode", "list"}, {"placement", "bottom"}}}};
    case kTable: return {{"showHeader", true}};
  }
  return Json::object();
}

Json PanelJson(const Panel& panel, int id, int x, int y) {
  return {{"id", id},
          {"type", TypeOf(panel.kind)},
          {"title", panel.title},
          {"description", panel.description},
          {"datasource", DataSource()},
          {"gridPos", {{"x", x}, {"y", y}, {"w", panel.width}, {"h", panel.height}}},
          {"fieldConfig", {{"defaults", FieldDefaults(panel)}, {"overrides", Json::array()}}},
          {"options", Options(panel.kind)},
          {"targets", Targets(panel)}};
}

// Left to right, a new row when the next panel does not fit.
Json PanelsJson(const std::vector<Panel>& panels) {
  Json list = Json::array();
  int x = 0;
  int y = 0;
  int row_height = 0;
  for (const Panel& panel : panels) {
    if (x + panel.width > kGridWidth) {
      x = 0;
      y += row_height;
      row_height = 0;
    }
    list.push_back(PanelJson(panel, static_cast<int>(list.size()) + 1, x, y));
    x += panel.width;
    row_height = std::max(row_height, panel.height);
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

// A line at every verdict, on all dashboards.
Json VerdictAnnotations() {
  const Json verdicts = {{"name", "Verdicts"},
                         {"datasource", DataSource()},
                         {"enable", true},
                         {"iconColor", "red"},
                         {"expr", Query("increase($0[1m]) > 0", {MetricId::kVerdicts})},
                         {"step", "30s"},
                         {"titleFormat", "stopped by a health rule"},
                         {"textFormat", "{{reason}}"}};
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
                     {"annotations", VerdictAnnotations()},
                     {"templating", {{"list", VariablesJson(dashboard.variables)}}},
                     {"panels", PanelsJson(dashboard.panels)}};
  return json.dump(2) + "\n";
}

}  // namespace entrain::metrics
