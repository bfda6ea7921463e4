#include "metrics/dashboards.h"

#include "metrics/query.h"

namespace entrain::metrics {
namespace {

using enum MetricId;
using enum PanelKind;

// Restricts a run's series to one sweep and carries what people know the run by.
std::string OfSweep(const std::string& series) {
  return "(" + series + ") * on (run) group_left (variant, label) " + Query("$0{sweep=\"$sweep\"}", {kRunInfo});
}

Dashboard Fleet() {
  return {
      .uid = "entrain-fleet",
      .title = "entrain: fleet",
      .description = "Queue, slots, gangs and how fast the coordinator decides.",
      .variables = {},
      .panels =
          {{"Runs", "Every run by its state.", kStacked, "short", {{Query("$0", {kRuns}), "{{state}}"}}, 12, 8},
           {"Slots",
            "Slots that gangs hold, of all.",
            kTimeSeries,
            "short",
            {{Query("$0", {kSlotsUsed}), "used"}, {Query("$0", {kSlots}), "all"}},
            12,
            8},
           {"Workers", "Workers by state; away and silent ones hold their slots.", kStacked, "short", {{Query("$0", {kWorkers}), "{{state}}"}}, 8, 7},
           {"Time to decide",
            "From a batch of events to its facts, before the commit.",
            kTimeSeries,
            "s",
            {{Query("histogram_quantile(0.5, sum by (le) (rate($0_bucket[$__rate_interval])))", {kDecisionSeconds}), "median"},
             {Query("histogram_quantile(0.99, sum by (le) (rate($0_bucket[$__rate_interval])))", {kDecisionSeconds}), "p99"}},
            8,
            7},
           {"Time to commit",
            "One journal transaction, fsync included.",
            kTimeSeries,
            "s",
            {{Query("histogram_quantile(0.5, sum by (le) (rate($0_bucket[$__rate_interval])))", {kCommitSeconds}), "median"},
             {Query("histogram_quantile(0.99, sum by (le) (rate($0_bucket[$__rate_interval])))", {kCommitSeconds}), "p99"}},
            8,
            7},
           {"Events decided", "By kind.", kTimeSeries, "ops", {{Query("rate($0[$__rate_interval])", {kEvents}), "{{kind}}"}}, 12, 8},
           {"Durable writes",
            "Facts and samples made durable.",
            kTimeSeries,
            "ops",
            {{Query("rate($0[$__rate_interval])", {kCommittedFacts}), "facts"}, {Query("rate($0[$__rate_interval])", {kSamplesStored}), "samples"}},
            12,
            8},
           {"Verdicts", "Runs that a health rule stopped, by reason.", kStat, "short", {{Query("$0", {kVerdicts}), "{{reason}}"}}, 12, 5},
           {"Finished runs", "By final state, since the coordinator started.", kStat, "short", {{Query("$0", {kRunsFinished}), "{{state}}"}}, 12, 5},
           {"Free disk",
            "Where the store and the attempt folders lie.",
            kTimeSeries,
            "bytes",
            {{Query("$0", {kCoordinatorDiskFree}), "coordinator"}, {Query("$0", {kWorkerDiskFree}), "{{instance}}"}},
            8,
            7},
           {"Workers' connections",
            "1 while a worker's control stream is open.",
            kTimeSeries,
            "short",
            {{Query("$0", {kWorkerCoordinatorConnected}), "{{instance}}"}},
            8,
            7},
           {"Log lines given up", "So that samples did not wait.", kTimeSeries, "ops", {{Query("rate($0[$__rate_interval])", {kWorkerLogLinesDropped}), "{{instance}}"}}, 8, 7}},
  };
}

Dashboard SweepView() {
  return {
      .uid = "entrain-sweep",
      .title = "entrain: sweep",
      .description = "The variants of one sweep beside each other. Series of finished runs end; the leaderboard of `entrain report` has them all.",
      .variables = {{"sweep", "Sweep", Query("label_values($0, sweep)", {kRunInfo})}},
      .panels =
          {{"Perplexity",
            "Best held-out perplexity so far, by variant.",
            kBarGauge,
            "short",
            {{"min by (variant) (exp(" + OfSweep(Query("$0", {kRunEvalLoss})) + "))", "{{variant}}"}},
            12,
            9},
           {"Progress", "Steps done.", kBarGauge, "percentunit", {{OfSweep("entrain:run_progress:ratio"), "{{label}}"}}, 12, 9},
           {"Loss", "Training cross-entropy, nats a token.", kTimeSeries, "short", {{OfSweep(Query("$0", {kRunLoss})), "{{label}}"}}, 12, 9},
           {"Held-out loss", "Nats a token.", kTimeSeries, "short", {{OfSweep(Query("$0", {kRunEvalLoss})), "{{label}}"}}, 12, 9},
           {"Dead heads", "Share of heads below 0.05 of the reachable entropy.", kTimeSeries, "percentunit", {{OfSweep("entrain:run_dead_heads:ratio"), "{{label}}"}}, 12, 8},
           {"Overloaded heads",
            "Share of heads in the top quarter of ln T.",
            kTimeSeries,
            "percentunit",
            {{OfSweep("entrain:run_heads:share{quarter=\"4\"}"), "{{label}}"}},
            12,
            8},
           {"Heads by quarter of ln T",
            "Mean over a variant's runs, newest step.",
            kTable,
            "percentunit",
            {{"avg by (variant, quarter) (" + OfSweep("entrain:run_heads:share") + ")", "{{variant}} {{quarter}}"}},
            12,
            9},
           {"Throughput", "Tokens a second of each run.", kTimeSeries, "short", {{OfSweep(Query("$0", {kRunTokensPerSecond})), "{{label}}"}}, 12, 9}},
  };
}

Dashboard RunView() {
  const auto of_run = [](std::string_view pattern, MetricId id) { return Query(pattern, {id}); };
  return {
      .uid = "entrain-run",
      .title = "entrain: run",
      .description = "Every head of one run while it trains.",
      .variables = {{"sweep", "Sweep", Query("label_values($0, sweep)", {kRunInfo})},
                    {"run", "Run", Query("label_values($0{sweep=\"$sweep\"}, run)", {kRunInfo})}},
      .panels =
          {{"Attention entropy of every head",
            "Share of the reachable maximum U = ln(T!)/T. Dark: collapsed, bright: averaging over everything.",
            kHeatRows,
            "percentunit",
            {{"entrain:attention_entropy:ratio{run=\"$run\"}", "L{{layer}} H{{head}}"}},
            24,
            14},
           {"Entropy by layer: median",
            "Nats.",
            kTimeSeries,
            "short",
            {{of_run("$0{run=\"$run\", stat=\"median\"}", kLayerEntropy), "layer {{layer}}"}},
            12,
            9},
           {"Entropy by layer: smallest and largest head",
            "Nats.",
            kTimeSeries,
            "short",
            {{of_run("$0{run=\"$run\", stat=~\"min|max\"}", kLayerEntropy), "layer {{layer}} {{stat}}"}},
            12,
            9},
           {"Smallest entropy within the window",
            "What a scrape between two dips would miss; nats, the least of a layer's heads.",
            kTimeSeries,
            "short",
            {{of_run("min by (layer) ($0{run=\"$run\"})", kHeadEntropyWindowMin), "layer {{layer}}"}},
            12,
            8},
           {"Heads by quarter of ln T", "1 is the lowest.", kStacked, "short", {{of_run("$0{run=\"$run\"}", kRunHeads), "quarter {{quarter}}"}}, 12, 8},
           {"Loss",
            "Nats a token.",
            kTimeSeries,
            "short",
            {{of_run("$0{run=\"$run\"}", kRunLoss), "training"}, {of_run("$0{run=\"$run\"}", kRunEvalLoss), "held out"}},
            12,
            8},
           {"Gradient norm", "Before clipping.", kTimeSeries, "short", {{of_run("$0{run=\"$run\"}", kRunGradientNorm), "L2 norm"}}, 12, 8},
           {"Largest attention score", "Absolute, by layer; fp16 ends at 65,504.", kTimeSeries, "short", {{of_run("$0{run=\"$run\"}", kLayerMaxAbsScore), "layer {{layer}}"}}, 12, 8},
           {"Learning rate", "Of the newest step.", kTimeSeries, "short", {{of_run("$0{run=\"$run\"}", kRunLearningRate), "learning rate"}}, 6, 8},
           {"Throughput", "Tokens a second.", kTimeSeries, "short", {{of_run("$0{run=\"$run\"}", kRunTokensPerSecond), "tokens/s"}}, 6, 8},
           {"Regulariser", "Not multiplied by lambda.", kTimeSeries, "short", {{of_run("$0{run=\"$run\"}", kRunRegulariser), "penalty"}}, 12, 8},
           {"Thresholds", "Mean theta of a layer's heads; regularised runs only.", kTimeSeries, "short", {{of_run("$0{run=\"$run\"}", kLayerTheta), "layer {{layer}}"}}, 12, 8}},
  };
}

}  // namespace

const std::vector<Dashboard>& Dashboards() {
  static const std::vector<Dashboard> dashboards = {Fleet(), SweepView(), RunView()};
  return dashboards;
}

}  // namespace entrain::metrics
