// A real Prometheus beside a cluster.
#pragma once

#include <string>
#include <vector>

#include "tests/integration/process.h"

namespace entrain::testing {

class Prometheus {
 public:
  // Scrapes each target every second; evaluates `rules_file` twice as often, when given, and sends alerts to `alertmanager`. Its files go to
  // `dir`.
  Prometheus(const std::string& dir, const std::vector<std::string>& targets, const std::string& rules_file = "",
             const std::string& alertmanager = "");
  // The series of an instant query, one a line.
  std::string Query(const std::string& promql) const;

 private:
  std::string address_;
  Process server_;
};

// A real Alertmanager with a configuration file.
class Alertmanager {
 public:
  Alertmanager(const std::string& dir, const std::string& config_file);
  const std::string& address() const { return address_; }
  // The active alerts that match, as JSON (amtool); they name their receivers.
  std::string Alerts(const std::string& matcher) const;

 private:
  std::string address_;
  Process server_;
};

// What `promtool check metrics` says of what is served at HOST:PORT/metrics; empty: nothing is wrong.
std::string CheckMetrics(const std::string& address);
// The exposition text itself.
std::string ScrapeText(const std::string& address);

}  // namespace entrain::testing
