// Grafana dashboards, written from the names of names.h and the recorded rules of rules.h: fleet, sweep, run.
#pragma once

#include <string>
#include <vector>

namespace entrain::metrics {

struct PanelQuery {
  std::string expr;    // PromQL; may use the dashboard's variables, $__rate_interval and $__range
  std::string legend;  // of a series, {{label}} filled in; of a table's query, its column
  std::string unit;    // where it is not the panel's
};

enum class PanelKind {
  kTimeSeries,
  kStacked,   // time series on top of each other
  kStat,      // newest value, large
  kTable,     // newest values; a row for every set of labels, a column for every label and every query, sorted by the first query
  kMatrix,    // newest values; a row for every value of the query's first label, a column for every value of its second
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
  // kMatrix.
  std::string row_label = {};
  std::string column_label = {};
  std::string without_data = {};  // said instead of "No data"
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
  // The verdicts to mark in every panel: a vector whose values are times in milliseconds.
  std::string annotations;
};

const std::vector<Dashboard>& Dashboards();

// deploy/grafana/dashboards/<uid>.json; a test holds the files equal to this.
std::string DashboardJson(const Dashboard& dashboard);

}  // namespace entrain::metrics
