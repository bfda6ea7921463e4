#include "metrics/rules.h"

#include <cctype>

#include "base/strings.h"
#include "metrics/query.h"

namespace entrain::metrics {
namespace {

using enum MetricId;

// A run that moves to another machine has series on both for a moment: the one side of every join is made unique by run.
std::vector<RecordingRule> RunRecordings() {
  return {
      {"entrain:attention_entropy:ratio", Query("$0 / on (run) group_left () max by (run) ($1)", {kHeadEntropy, kRunEntropyBound}),
       "a head's entropy as a share of the reachable maximum U = ln(T!)/T"},
      {"entrain:layer_entropy:ratio", Query("$0 / on (run) group_left () max by (run) ($1)", {kLayerEntropy, kRunEntropyBound}),
       "quantiles of a layer's head entropies as a share of U"},
      {"entrain:run_dead_heads:ratio",
       StrCat("sum by (run) (entrain:attention_entropy:ratio < bool ", kDeadHeadShare, ") / count by (run) (entrain:attention_entropy:ratio)"),
       "share of a run's heads that are dead, below 0.05 U"},
      {"entrain:run_dead_layers:count",
       StrCat("max by (run) (sum by (run, instance) (entrain:layer_entropy:ratio{stat=\"max\"} < bool ", kDeadHeadShare, "))"),
       "layers of a run in which every head is dead"},
      {"entrain:run_heads:share", Query("$0 / on (run, instance) group_left () sum by (run, instance) ($0)", {kRunHeads}),
       "share of a run's heads in each quarter of ln T"},
      {"entrain:run_progress:ratio", Query("max by (run) ($0) / max by (run) ($1)", {kRunStep, kRunTargetSteps}),
       "steps done as a share of the run's steps"},
  };
}

RecordingRule P99(std::string record, MetricId histogram, std::string_view window, std::string_view meaning) {
  const std::string pattern = StrCat("histogram_quantile(0.99, sum by (le) (rate($0_bucket[", window, "])))");
  return {std::move(record), Query(pattern, {histogram}), meaning};
}

std::vector<RecordingRule> MakeRecordingRules() {
  std::vector<RecordingRule> rules = RunRecordings();
  rules.push_back(P99("entrain:queue_wait_seconds:p99_1h", kQueueWaitSeconds, "1h", "99th percentile of a run's wait in the queue"));
  rules.push_back(P99("entrain:decision_seconds:p99_5m", kDecisionSeconds, "5m", "99th percentile of a decision"));
  rules.push_back(P99("entrain:commit_seconds:p99_5m", kCommitSeconds, "5m", "99th percentile of a journal transaction"));
  return rules;
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
       Query("$0 != $0 or abs($0) == Inf or (sum (increase($1{reason=\"non_finite\"}[15m])) > 0)", {kRunLoss, kVerdicts}), "0m", "warning",
       "A loss or gradient stopped being finite{{ if $labels.run }} in run {{ $labels.run }}{{ end }}.",
       "`entrain list`; the run ends by itself and is never retried. Lower the learning rate or switch the regulariser on."},
      {"EntrainRunStalled", Query("time() - $0 > 300", {kRunLastSample}), "1m", "critical",
       "Run {{ $labels.run }} has not finished a step for {{ $value | humanizeDuration }}.",
       "`entrain logs RUN`; then `entrain describe RUN` for its machine, and look for a frozen rank there."},
      {"EntrainVerdict", Query("max by (run, sweep, label, reason, rule, action) ($0)", {kRunVerdict}), "0m", "info",
       "{{ $labels.label }} of sweep {{ $labels.sweep }}: rule {{ $labels.rule }} fired, action {{ $labels.action }}.",
       "`entrain explain RUN` ({{ $labels.run }}) shows the evidence. A paused run waits for `entrain resume`."},
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
       // A trend needs half an hour behind it: copying one dataset is none.
       Query("$0 < 2e9 or $1 < 2e9 or (predict_linear($0[1h], 4 * 3600) < 0 and $0 offset 30m > 0) or "
             "(predict_linear($1[1h], 4 * 3600) < 0 and $1 offset 30m > 0)",
             {kCoordinatorDiskFree, kWorkerDiskFree}),
       "5m", "critical", "{{ $labels.instance }}: the disk is nearly full or will be within four hours.",
       "Free space or move the folder; a run whose checkpoint does not fit fails with class storage and is tried again."},
      {"EntrainPoolRefused", Query("increase($0[30m]) >= 3", {kPoolFailures}), "5m", "warning",
       "The pool {{ $labels.pool }} does not get the machines that it asks for.",
       "`entrain workers` shows what the engine said; see the runbook."},
      {"EntrainLimitReached", Query("increase($0[15m]) > 0", {kLimitsReached}), "0m", "warning",
       "The limit {{ $labels.limit }} was reached.", "See the runbook: each limit says what was given up for it."},
  };
}

// A YAML single-quoted scalar.
std::string Quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("''") : std::string(1, c);
  return out + "'";
}

// `concern` tells who should hear of it: "run" (researchers) or "fleet" (operators).
void AppendAlerts(std::string_view group, std::string_view concern, const std::vector<AlertRule>& alerts, std::string* yaml) {
  StrAppend(yaml, "  - name: ", group, "\n    rules:\n");
  for (const AlertRule& alert : alerts) {
    StrAppend(yaml, "      - alert: ", alert.name, "\n        expr: ", Quoted(alert.expr), "\n        for: ", alert.held_for,
              "\n        labels: {severity: ", alert.severity, ", concern: ", concern, "}\n        annotations:\n          summary: ", Quoted(alert.summary),
              "\n          action: ", Quoted(alert.action), "\n          runbook: ", RunbookOf(alert), "\n");
  }
}

}  // namespace

std::string RunbookOf(const AlertRule& alert) {
  std::string anchor(alert.name);
  for (char& c : anchor) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return StrCat("docs/runbook.md#", anchor);
}

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
  AppendAlerts("entrain.health", "run", HealthAlerts(), &yaml);
  AppendAlerts("entrain.fleet", "fleet", FleetAlerts(), &yaml);
  return yaml;
}

}  // namespace entrain::metrics
