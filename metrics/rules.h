// Prometheus recording and alert rules, written from the names of names.h so that a renamed metric cannot leave a rule behind.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "metrics/names.h"

namespace entrain::metrics {

// `record` = `expr`, evaluated at every interval.
struct RecordingRule {
  std::string record;
  std::string expr;
  std::string_view meaning;
};

struct AlertRule {
  std::string_view name;
  std::string expr;
  std::string_view held_for;  // how long `expr` must hold; Prometheus duration
  std::string_view severity;  // "critical": someone should look now; "warning": today; "info": whoever wants to know
  std::string_view summary;   // one line, a Prometheus template
  std::string_view action;    // the first thing to do; docs/runbook.md has the rest
};

const std::vector<RecordingRule>& RecordingRules();
const std::vector<AlertRule>& AlertRules();
// The alert's section, e.g. "docs/runbook.md#entrainverdict".
std::string RunbookOf(const AlertRule& alert);

// A head below this share of U = ln(T!)/T counts as dead; the default of the collapse rule in sweep files.
inline constexpr double kDeadHeadShare = 0.05;

// deploy/prometheus/entrain.rules.yaml; a test holds the file equal to this.
std::string PrometheusRulesYaml();

}  // namespace entrain::metrics
