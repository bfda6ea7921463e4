#include "metrics/dashboards.h"

#include <array>

#include "base/strings.h"
#include "metrics/query.h"

namespace entrain::metrics {
namespace {

using enum MetricId;
using enum PanelKind;

std::string MarksOf(const std::string& selector) { return Query(StrCat("max by (label, rule, action) ($0", selector, ") * 1000"), {kRunVerdict}); }

// Restricts a run's series to one sweep and carries what people know the run by.
std::string OfSweep(const std::string& series) {
  return StrCat("(", series, ") * on (run) group_left (variant, label) max by (run, variant, label) (", Query("$0{sweep=\"$sweep\"}", {kRunInfo}), ")");
}

// The same for a function over the dashboard's time: runs that are over are in it.
std::string OfSweepInRange(const std::string& series) {
  return StrCat("(", series, ") * on (run) group_left (label) max by (run, label) (last_over_time(",
                Query("$0{sweep=\"$sweep\"}", {kRunInfo}), "[$__range]))");
}

std::vector<PanelQuery> Quantiles(MetricId histogram, std::string_view window) {
  std::vector<PanelQuery> queries;
  for (const auto& [q, legend] : {std::pair("0.5", "median"), std::pair("0.99", "p99")}) {
    queries.push_back({Query(StrCat("histogram_quantile(", q, ", sum by (le) (rate($0_bucket[", window, "])))"), {histogram}), legend, ""});
  }
  return queries;
}

std::vector<Panel> QueuePanels() {
  return {{"Runs", "Every run by its state.", kStacked, "short", {{Query("$0", {kRuns}), "{{state}}", ""}}, 12, 8},
          {"Slots",
           "Slots that gangs hold, of all.",
           kTimeSeries,
           "short",
           {{Query("$0", {kSlotsUsed}), "used", ""}, {Query("$0", {kSlots}), "all", ""}},
           12,
           8},
          {"Queue", "Runs that wait for a place, and paused ones.", kTimeSeries, "short", {{Query("$0{state=~\"queued|paused\"}", {kRuns}), "{{state}}", ""}}, 8, 7},
          {"Gangs",
           "Gangs that hold slots.",
           kStacked,
           "short",
           {{Query("$0{state=~\"starting|running|stopping\"}", {kRuns}), "{{state}}", ""}},
           8,
           7},
          {"Workers", "Workers by state; away and silent ones hold their slots.", kStacked, "short", {{Query("$0", {kWorkers}), "{{state}}", ""}}, 8, 7}};
}

std::vector<Panel> LatencyPanels() {
  return {{"Wait in the queue", "From entering the queue to a place; the runs of the last hour.", kTimeSeries, "s", Quantiles(kQueueWaitSeconds, "1h"), 8, 7},
          {"Start of a gang", "From a place to all ranks up; the gangs of the last hour.", kTimeSeries, "s", Quantiles(kGangStartSeconds, "1h"), 8, 7},
          {"Time to decide", "From a batch of events to its facts, before the commit.", kTimeSeries, "s", Quantiles(kDecisionSeconds, "$__rate_interval"), 8, 7},
          {"Time to commit", "One journal transaction, fsync included.", kTimeSeries, "s", Quantiles(kCommitSeconds, "$__rate_interval"), 8, 7},
          {"Events decided", "By kind.", kTimeSeries, "ops", {{Query("rate($0[$__rate_interval])", {kEvents}), "{{kind}}", ""}}, 8, 7},
          {"Durable writes",
           "Facts and samples made durable.",
           kTimeSeries,
           "ops",
           {{Query("rate($0[$__rate_interval])", {kCommittedFacts}), "facts", ""}, {Query("rate($0[$__rate_interval])", {kSamplesStored}), "samples", ""}},
           8,
           7}};
}

std::vector<Panel> OutcomePanels() {
  return {{"Verdicts", "Of health rules, since the coordinator started.", kBarGauge, "short", {{Query("sum by (rule) ($0)", {kVerdicts}), "{{rule}}", ""}}, 12, 10},
          {"What followed", "From verdicts, since the coordinator started.", kStat, "short", {{Query("sum by (action) ($0)", {kVerdicts}), "{{action}}", ""}}, 12, 5},
          {"Finished runs", "By final state, since the coordinator started.", kStat, "short", {{Query("$0", {kRunsFinished}), "{{state}}", ""}}, 12, 5}};
}

std::vector<Panel> MachinePanels() {
  return {{"Free disk",
           "Where the store and the attempt folders lie.",
           kTimeSeries,
           "bytes",
           {{Query("$0", {kCoordinatorDiskFree}), "coordinator", ""}, {Query("$0", {kWorkerDiskFree}), "{{instance}}", ""}},
           8,
           7},
          {"Workers' connections",
           "1 while a worker's control stream is open.",
           kTimeSeries,
           "short",
           {{Query("$0", {kWorkerCoordinatorConnected}), "{{instance}}", ""}},
           8,
           7},
          {"Given up",
           "Log lines that samples did not wait for, limits reached, runs paused while the coordinator was away; a second.",
           kTimeSeries,
           "ops",
           {{Query("rate($0[$__rate_interval])", {kWorkerLogLinesDropped}), "log lines {{instance}}", ""},
            {Query("rate($0[$__rate_interval])", {kLimitsReached}), "limit {{limit}}", ""},
            {Query("rate($0[$__rate_interval])", {kWorkerPauses}), "pauses {{instance}}", ""}},
           8,
           7}};
}

std::vector<Panel> PoolPanels() {
  const std::string machines = Query("$0{state!=\"max\"}", {kPoolMachines});
  const std::string without_pool = "No elastic pool";
  return {{"Pools: machines",
           "Of all elastic pools, as their engines say.",
           kStacked,
           "short",
           {{StrCat("sum by (state) (", machines, ")"), "{{state}}", ""}},
           6,
           7,
           "",
           "",
           without_pool},
          {"Pools: how full",
           "Machines that are up, coming or leaving, of as many as the pool may have.",
           kBarGauge,
           "percentunit",
           {{StrCat("sum by (pool) (", machines, ") / sum by (pool) (", Query("$0{state=\"max\"}", {kPoolMachines}), ")"), "{{pool}}", ""}},
           5,
           7,
           "",
           "",
           without_pool},
          {"Pools: what they wait for",
           "Runs without a place and slots that nobody uses, beside machines that were asked for and have not come; `entrain explain RUN` has the engine's reason.",
           kTimeSeries,
           "short",
           {{Query("$0{state=\"queued\"} and on () $1", {kRuns, kPoolMachines}), "queued runs", ""},
            {Query("$0 - $1 and on () $2", {kSlots, kSlotsUsed, kPoolMachines}), "free slots", ""},
            {Query("sum ($0{state=\"pending\"})", {kPoolMachines}), "machines", ""}},
           7,
           7,
           "",
           "",
           without_pool},
          {"Pools: refusals, lost machines",
           "Within 30 minutes: an engine refused or did not answer, or a machine ended before its worker registered. Three raise EntrainPoolRefused.",
           kTimeSeries,
           "short",
           {{Query("round(increase($0[30m]))", {kPoolFailures}), "{{pool}}", ""}},
           6,
           7,
           "",
           "",
           without_pool}};
}

void Append(std::vector<Panel> more, std::vector<Panel>* panels) { panels->insert(panels->end(), more.begin(), more.end()); }

Dashboard Fleet() {
  std::vector<Panel> panels;
  for (const auto& part : {QueuePanels(), LatencyPanels(), OutcomePanels(), MachinePanels(), PoolPanels()}) Append(part, &panels);
  return {.uid = "entrain-fleet",
          .title = "entrain: fleet",
          .description = "Queue, slots, gangs and how fast the coordinator places and decides.",
          .variables = {},
          .panels = std::move(panels),
          .annotations = MarksOf("")};
}

Panel Leaderboard() {
  const auto by_run = [](const std::string& expr) { return StrCat("min by (label) (", OfSweepInRange(expr), ")"); };
  return {"Leaderboard",
          "Best held-out perplexity within the time shown, runs that are over included.",
          kTable,
          "short",
          {{by_run(Query("exp(min_over_time($0[$__range]))", {kRunEvalLoss})), "perplexity", ""},
           {by_run(Query("last_over_time($0[$__range])", {kRunLoss})), "training loss", ""},
           {by_run(Query("max_over_time($0[$__range])", {kRunStep})), "steps", ""},
           {by_run("last_over_time(entrain:run_dead_heads:ratio[$__range])"), "dead heads", "percentunit"},
           {by_run(Query("avg_over_time($0[$__range])", {kRunTokensPerSecond})), "tokens/s", ""}},
          24,
          9};
}

std::vector<Panel> VariantPanels() {
  return {Leaderboard(),
          {"Loss", "Training cross-entropy, nats a token.", kTimeSeries, "short", {{OfSweep(Query("$0", {kRunLoss})), "{{label}}", ""}}, 12, 9},
          {"Held-out loss", "Nats a token.", kTimeSeries, "short", {{OfSweep(Query("$0", {kRunEvalLoss})), "{{label}}", ""}}, 12, 9},
          {"Share of heads by quarter of ln T",
           "1 is the lowest quarter; newest values within the time shown, mean over a variant's runs.",
           kMatrix,
           "percentunit",
           {{StrCat("avg by (variant, quarter) ((last_over_time(entrain:run_heads:share[$__range])) * on (run) group_left (variant) max by (run, variant) "
                    "(last_over_time(",
                    Query("$0{sweep=\"$sweep\"}", {kRunInfo}), "[$__range])))"),
             "", ""}},
           12,
           9,
           "variant",
           "quarter"},
          {"Progress", "Steps done.", kBarGauge, "percentunit", {{OfSweep("entrain:run_progress:ratio"), "{{label}}", ""}}, 12, 9},
          {"Dead heads",
           "Share of heads below 0.05 of the reachable entropy.",
           kTimeSeries,
           "percentunit",
           {{OfSweep("entrain:run_dead_heads:ratio"), "{{label}}", ""}},
           12,
           8},
          {"Overloaded heads",
           "Share of heads in the top quarter of ln T.",
           kTimeSeries,
           "percentunit",
           {{OfSweep("entrain:run_heads:share{quarter=\"4\"}"), "{{label}}", ""}},
           12,
           8},
          {"Verdicts",
           "Of health rules within the time shown; `entrain explain` has the evidence.",
           kTable,
           "dateTimeAsIso",
           {{Query("max by (label, rule, action) (last_over_time($0{sweep=\"$sweep\"}[$__range])) * 1000", {kRunVerdict}), "when", ""}},
           12,
           8},
          {"Throughput", "Tokens a second of each run.", kTimeSeries, "short", {{OfSweep(Query("$0", {kRunTokensPerSecond})), "{{label}}", ""}}, 12, 8}};
}

Dashboard SweepView() {
  return {.uid = "entrain-sweep",
          .title = "entrain: sweep",
          .description = "The variants of one sweep beside each other. Series of finished runs end; what a panel says of the time shown has them all.",
          .variables = {{"sweep", "Sweep", Query("label_values($0, sweep)", {kRunInfo})}},
          .panels = VariantPanels(),
          .annotations = MarksOf("{sweep=\"$sweep\"}")};
}

std::vector<Panel> HeadPanels() {
  return {{"Attention entropy of every head",
           "Share of the reachable maximum U = ln(T!)/T. Dark: collapsed, bright: averaging over everything. Empty for a run beyond the "
           "worker's limit of per-head series.",
           kHeatRows,
           "percentunit",
           {{"entrain:attention_entropy:ratio{run=\"$run\"}", "L{{layer}} H{{head}}", ""}},
           24,
           14},
          {"Entropy by layer: median",
           "Share of U.",
           kTimeSeries,
           "percentunit",
           {{"entrain:layer_entropy:ratio{run=\"$run\", stat=\"median\"}", "layer {{layer}}", ""}},
           12,
           9},
          {"Entropy by layer: quartiles",
           "Share of U.",
           kTimeSeries,
           "percentunit",
           {{"entrain:layer_entropy:ratio{run=\"$run\", stat=~\"p25|p75\"}", "layer {{layer}} {{stat}}", ""}},
           12,
           9},
          {"Entropy by layer: smallest and largest head",
           "Share of U.",
           kTimeSeries,
           "percentunit",
           {{"entrain:layer_entropy:ratio{run=\"$run\", stat=~\"min|max\"}", "layer {{layer}} {{stat}}", ""}},
           12,
           9},
          {"Smallest entropy within the window",
           "What a scrape between two dips would miss; nats, the least of a layer's heads.",
           kTimeSeries,
           "short",
           {{Query("min by (layer) ($0{run=\"$run\"})", {kHeadEntropyWindowMin}), "layer {{layer}}", ""}},
           12,
           9},
          {"Heads by quarter of ln T", "1 is the lowest.", kStacked, "short", {{Query("$0{run=\"$run\"}", {kRunHeads}), "quarter {{quarter}}", ""}}, 12, 8},
          {"Largest attention score",
           "Absolute, by layer; fp16 ends at 65,504.",
           kTimeSeries,
           "short",
           {{Query("$0{run=\"$run\"}", {kLayerMaxAbsScore}), "layer {{layer}}", ""}},
           12,
           8}};
}

std::vector<Panel> StepPanels() {
  const auto of_run = [](MetricId id) { return Query("$0{run=\"$run\"}", {id}); };
  return {{"Loss", "Nats a token.", kTimeSeries, "short", {{of_run(kRunLoss), "training", ""}, {of_run(kRunEvalLoss), "held out", ""}}, 12, 8},
          {"Gradient norm", "Before clipping.", kTimeSeries, "short", {{of_run(kRunGradientNorm), "L2 norm", ""}}, 12, 8},
          {"Learning rate", "Of the newest step.", kTimeSeries, "sci", {{of_run(kRunLearningRate), "learning rate", ""}}, 8, 8},
          {"Throughput", "Tokens a second.", kTimeSeries, "short", {{of_run(kRunTokensPerSecond), "tokens/s", ""}}, 8, 8},
          {"Progress", "Steps done.", kBarGauge, "percentunit", {{"entrain:run_progress:ratio{run=\"$run\"}", "steps", ""}}, 8, 8},
          {"Regulariser", "Not multiplied by lambda.", kTimeSeries, "short", {{of_run(kRunRegulariser), "penalty", ""}}, 12, 8},
          {"Thresholds",
           "Mean theta of a layer's heads; regularised runs only.",
           kTimeSeries,
           "short",
           {{of_run(kLayerTheta), "layer {{layer}}", ""}},
           12,
           8}};
}

Dashboard RunView() {
  std::vector<Panel> panels = HeadPanels();
  Append(StepPanels(), &panels);
  return {.uid = "entrain-run",
          .title = "entrain: run",
          .description = "Every head of one run while it trains; verdicts are marked.",
          .variables = {{"sweep", "Sweep", Query("label_values($0, sweep)", {kRunInfo})},
                        {"run", "Run", Query("label_values($0{sweep=\"$sweep\"}, run)", {kRunInfo})}},
          .panels = std::move(panels),
          .annotations = MarksOf("{run=\"$run\"}")};
}

}  // namespace

const std::vector<Dashboard>& Dashboards() {
  static const std::vector<Dashboard> dashboards = {Fleet(), SweepView(), RunView()};
  return dashboards;
}

}  // namespace entrain::metrics
