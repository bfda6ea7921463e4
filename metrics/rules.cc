#include "metrics/rules.h"

#include "base/strings.h"
#include "metrics/query.h"

namespace entrain::metrics {
namespace {

using enum MetricId;

std::vector<RecordingRule> MakeRecordingRules() {
  return {
      {"entrain:attention_entropy:ratio", Query("$0 / on (run) group_left () $1", {kHeadEntropy, kRunEntropyBound}),
       "a head's entropy as a share of the reachable maximum U = ln(T!)/T"},
      {"entrain:run_dead_heads:ratio",
       StrCat("sum by (run) (entrain:attention_entropy:ratio < bool ", kDeadHeadShare, ") / count by (run) (entrain:attention_entropy:ratio)"),
       "share of a run's heads that are dead, below 0.05 U"},
      {"entrain:run_dead_layers:count",
       Query(StrCat("sum by (run) ($0{stat=\"max\"} / on (run) group_left () $1 < bool ", kDeadHeadShare, ")"),
             {kLayerEntropy, kRunEntropyBound}),
       "layers of a run in which every head is dead"},
      {"entrain:run_heads:share", Query("$0 / on (run) group_left () sum by (run) ($0)", {kRunHeads}),
       "share of a run's heads in each quarter of ln T"},
      {"entrain:run_progress:ratio", Query("$0 / on (run) $1", {kRunStep, kRunTargetSteps}), "steps done as a share of the run's steps"},
      {"entrain:decision_seconds:p99_5m",
       Query("histogram_quantile(0.99, sum by (le) (rate($0_bucket[5m])))", {kDecisionSeconds}), "99th percentile of a decision"},
      {"entrain:commit_seconds:p99_5m",
       Query("histogram_quantile(0.99, sum by (le) (rate($0_bucket[5m])))", {kCommitSeconds}), "99th percentile of a journal transaction"},
  };
}

std::vector<AlertRule> HealthAlerts() {
  return {
      {"EntrainEntropyCollapse", "entrain:run_dead_layers:count > 0 or entrain:run_dead_heads:ratio >= 0.1", "1m", "warning",
       "Run {{ $labels.run }}: heads are dying (a whole layer, or at least 10 % of all heads, below 0.05 of the bound).",
       "`entrain describe RUN`; unless the sweep switched its collapse rule off, the run is about to be stopped."},
      {"EntrainEntropyOverload", "entrain:run_heads:share{quarter=\"4\"} > 0.5", "30m", "warning",
       "Run {{ $labels.run }}: {{ $value | humanizePercentage }} of the heads average over everything (top quarter of ln T).",
       "Look at the entropy heat map; early layers that stay there after warm-up have stopped learning."},
      {"EntrainLossNonFinite",
       Query("$0 != $0 or abs($0) == Inf or (increase($1{reason=\"non_finite\"}[15m]) > 0)", {kRunLoss, kVerdicts}), "0m", "warning",
       "A loss or gradient stopped being finite{{ if $labels.run }} in run {{ $labels.run }}{{ end }}.",
       "`entrain list`; the run ends by itself and is never retried. Lower the learning rate or switch the regulariser on."},
      {"EntrainRunStalled", Query("time() - $0 > 300", {kRunLastSample}), "1m", "critical",
       "Run {{ $labels.run }} has not finished a step for {{ $value | humanizeDuration }}.",
       "`entrain logs RUN`; then `entrain describe RUN` for its machine, and look for a frozen rank there."},
  };
}

std::vector<AlertRule> FleetAlerts() {
  return {
      {"EntrainWorkerLost", Query("sum ($0{state=~\"away|silent\"}) > 0", {kWorkers}), "2m", "critical",
       "{{ $value }} worker(s) stopped answering.",
       "`entrain workers`; its runs start again elsewhere after the lease. Look at the machine and its network."},
      {"EntrainQueueStuck",
       Query("$0{state=\"queued\"} > 0 and on () (sum ($0{state=~\"starting|running\"}) == 0) and on () ($1 > 0)", {kRuns, kSlots}), "15m",
       "warning", "{{ $value }} run(s) wait while nothing runs.", "`entrain explain RUN` says what each needs and whether it can ever fit."},
      {"EntrainCoordinatorDown",
       Query("absent($0) or on () (count($1 == 0) == count($1))", {kCommittedFacts, kWorkerCoordinatorConnected}), "1m", "critical",
       "The coordinator does not answer. Training goes on; nothing new starts and nothing is stopped.",
       "Start it again with the same --data-dir: nothing that was acknowledged is lost."},
      {"EntrainCommitSlow", "entrain:commit_seconds:p99_5m > 0.5", "10m", "warning",
       "Making a decision durable takes {{ $value | humanizeDuration }} (99th percentile).", "Look at the disk under the coordinator's --data-dir."},
      {"EntrainDiskNearlyFull",
       Query("$0 < 2e9 or $1 < 2e9 or predict_linear($0[1h], 4 * 3600) < 0 or predict_linear($1[1h], 4 * 3600) < 0",
             {kCoordinatorDiskFree, kWorkerDiskFree}),
       "5m", "critical", "{{ $labels.instance }}: the disk is nearly full or will be within four hours.",
       "Free space or move the folder; a run whose checkpoint does not fit fails with class storage and is tried again."},
  };
}

// A YAML single-quoted scalar.
std::string Quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("''") : std::string(1, c);
  return out + "'";
}

void AppendAlerts(std::string_view group, const std::vector<AlertRule>& alerts, std::string* yaml) {
  StrAppend(yaml, "  - name: ", group, "\n    rules:\n");
  for (const AlertRule& alert : alerts) {
    StrAppend(yaml, "      - alert: ", alert.name, "\n        expr: ", Quoted(alert.expr), "\n        for: ", alert.held_for,
              "\n        labels: {severity: ", alert.severity, "}\n        annotations:\n          summary: ", Quoted(alert.summary),
              "\n          action: ", Quoted(alert.action), "\n          runbook: docs/runbook.md\n");
  }
}

}  // namespace

const std::vector<RecordingRule>& RecordingRules() {
  static const std::vector<RecordingRule> rules = MakeRecordingRules();
  return rules;
}

const std::vector<AlertRule>& AlertRules() {
  static const std::vector<AlertRule> rules = [] {
    std::vector<AlertRule> all = HealthAlerts();
    for (AlertRule& alert : FleetAlerts()) all.push_back(std::move(alert));
    return all;
  }();
  return rules;
}

std::string PrometheusRulesYaml() {
  std::string yaml = "# Made from metrics/rules.cc; a test holds it to that (ENTRAIN_REGENERATE=1 rules_test writes it).\ngroups:\n"
                     "  - name: entrain.recording\n    rules:\n";
  for (const RecordingRule& rule : RecordingRules()) {
    StrAppend(&yaml, "      # ", rule.meaning, "\n      - record: ", rule.record, "\n        expr: ", Quoted(rule.expr), "\n");
  }
  AppendAlerts("entrain.health", HealthAlerts(), &yaml);
  AppendAlerts("entrain.fleet", FleetAlerts(), &yaml);
  return yaml;
}

}  // namespace entrain::metrics
