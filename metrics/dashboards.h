// Grafana dashboards, written from the names of names.h and the recorded rules of rules.h: fleet, sweep, run.
#pragma once

#include <string>
#include <vector>

namespace entrain::metrics {

struct PanelQuery {
  std::string expr;    // PromQL; may use the dashboard's variables and $__rate_interval
  std::string legend;  // of a series, {{label}} filled in
};

enum class PanelKind {
  kTimeSeries,
  kStacked,   // time series on top of each other
  kStat,      // newest value, large
  kTable,     // one row a series, newest value
  kBarGauge,  // one bar a series, newest value
  kHeatRows,  // one row a series over time, the value as colour
};

struct Panel {
  std::string title;
  std::string description;
  PanelKind kind = PanelKind::kTimeSeries;
  std::string unit;  // Grafana's unit id
  std::vector<PanelQuery> queries;
  int width = 12;  // of 24
  int height = 8;
};

struct Variable {
  std::string name;
  std::string label;
  std::string query;  // label_values(...)
};

struct Dashboard {
  std::string uid;  // also the file's name
  std::string title;
  std::string description;
  std::vector<Variable> variables;
  std::vector<Panel> panels;
};

const std::vector<Dashboard>& Dashboards();

// deploy/grafana/dashboards/<uid>.json; a test holds the files equal to this.
std::string DashboardJson(const Dashboard& dashboard);

}  // namespace entrain::metrics
