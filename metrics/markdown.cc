#include <string>
#include <vector>

#include "base/strings.h"
#include "metrics/names.h"
#include "metrics/rules.h"

namespace entrain::metrics {
namespace {

using enum MetricId;

std::string_view TypeText(MetricType type) {
  switch (type) {
    case MetricType::kGauge:
      return "gauge";
    case MetricType::kCounter:
      return "counter";
    case MetricType::kHistogram:
      return "histogram";
  }
  return "";
}

std::string LabelsText(const Metric& metric) {
  std::string text;
  for (const Label& label : metric.labels) StrAppend(&text, text.empty() ? "" : ", ", "`", label.name, "`");
  return text;
}

// The label values of one series that do not follow from its others, multiplied.
std::string ProductText(const Metric& metric) {
  std::size_t fixed = metric.type == MetricType::kHistogram ? metric.buckets.size() + 3 : 1;
  std::string varying;
  for (const Label& label : metric.labels) {
    if (!label.values.empty()) fixed *= label.values.size();
    if (label.name == "layer") StrAppend(&varying, " x layers");
    if (label.name == "run") StrAppend(&varying, " x runs");
  }
  if (fixed == 1 && !varying.empty()) return varying.substr(3);
  return StrCat(fixed, varying);
}

std::string SeriesText(const Metric& metric) {
  if (metric.id == kHeadEntropy || metric.id == kHeadEntropyWindowMin) return std::to_string(kMaxHeadSeries);
  if (metric.id == kRunVerdict) return std::to_string(kMaxVerdictSeries);
  // A rule has one reason.
  if (metric.id == kVerdicts) return std::to_string(KnownRules().size() * KnownActions().size());
  return ProductText(metric);
}

void AppendMetrics(Process process, std::string* text) {
  StrAppend(text, "| name | type | unit | labels | series at most | meaning |\n|---|---|---|---|---|---|\n");
  for (const Metric& metric : AllMetrics()) {
    if (metric.process != process) continue;
    StrAppend(text, "| `", metric.name, "` | ", TypeText(metric.type), " | ", metric.unit, " | ", LabelsText(metric), " | ",
              SeriesText(metric), " | ", metric.help, " |\n");
  }
}

std::string ValuesText(const Label& label) {
  std::string text;
  for (std::string_view value : label.values) StrAppend(&text, text.empty() ? ": " : ", ", "`", value, "`");
  return text;
}

void AppendLabels(std::string* text) {
  std::vector<std::string> seen;
  for (const Metric& metric : AllMetrics()) {
    for (const Label& label : metric.labels) {
      std::string line = StrCat("- `", label.name, "`, ", label.meaning, ValuesText(label), "\n");
      bool known = false;
      for (const std::string& earlier : seen) known |= earlier == line;
      if (known) continue;
      StrAppend(text, line);
      seen.push_back(std::move(line));
    }
  }
}

void AppendRules(std::string* text) {
  StrAppend(text, "| name | meaning |\n|---|---|\n");
  for (const RecordingRule& rule : RecordingRules()) StrAppend(text, "| `", rule.record, "` | ", rule.meaning, " |\n");
  StrAppend(text, "\n## Alerts\n\n| name | severity | held for |\n|---|---|---|\n");
  for (const AlertRule& alert : AlertRules()) {
    StrAppend(text, "| [", alert.name, "](", RunbookOf(alert).substr(5), ") | ", alert.severity, " | ", alert.held_for, " |\n");
  }
}

constexpr std::string_view kPreface =
    R"(# Metrics

The worker and the coordinator serve `/metrics` in the Prometheus text format, and `/healthz`, which answers 200 while the
process serves. This page is made from `metrics/names.cc` and `metrics/rules.cc`, and a test holds it to them; another holds what real
processes serve to this page. Three families named `exposer_` are the HTTP server's own.

- Series of a run live on the worker that hosts its rank 0. After the run's end they are in two more scrapes, then they are
  gone (at the latest five minutes later). With two Prometheus servers each scrape of either counts.
- Series appear with the first value they have: before its first step a run has no entropy, rather than an entropy of 0. Counters
  with labels known beforehand exist at 0 from the start, so that their first event is an increase.
- The series per process are bounded. "Runs" are those with rank 0 on the worker, at most one a slot, and those that ended within two
  scrapes; "layers" are those of the model. Per-head series are on until a worker holds 4096 heads (`entrain-worker
  --metrics-max-heads N`; 0: none): runs that would go beyond have their per-layer quantiles only. For runs of 12 layers and 12 heads on
  8 slots that is 8 x (288 per-head, 96 per-layer and 17 other series) = 3,208.
- Labels that would repeat in every series of a run are in `entrain_run_info` alone.

## Joining what people know a run by

The newest loss of every run, with its variant and label (`max by` because a run that moves to another machine is on both for a moment):

    entrain_run_loss_nats
      * on (run) group_left (variant, label) max by (run, variant, label) (entrain_run_info{sweep="quickstart"})

Every head's entropy as a share of the reachable maximum, and the lowest head of each variant:

    entrain_attention_entropy_nats / on (run) group_left () max by (run) (entrain_run_entropy_bound_nats)

    min by (variant) (entrain:attention_entropy:ratio
      * on (run) group_left (variant) max by (run, variant) (entrain_run_info))

Best perplexity of the last day's runs, those that are over too:

    exp(min_over_time(entrain_run_eval_loss_nats[1d]))
      * on (run) group_left (label) max by (run, label) (last_over_time(entrain_run_info[1d]))
)";

}  // namespace

std::string MetricsMarkdown() {
  std::string text(kPreface);
  StrAppend(&text, "\n## Worker\n\n");
  AppendMetrics(Process::kWorker, &text);
  StrAppend(&text, "\n## Coordinator\n\n");
  AppendMetrics(Process::kCoordinator, &text);
  StrAppend(&text, "\n## Labels\n\n");
  AppendLabels(&text);
  StrAppend(&text, "\n## Recorded\n\n`deploy/prometheus/entrain.rules.yaml` records:\n\n");
  AppendRules(&text);
  return text;
}

}  // namespace entrain::metrics
