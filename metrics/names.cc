#include "metrics/names.h"

#include <array>

#include "base/check.h"

namespace entrain::metrics {
namespace {

using enum MetricId;
using enum MetricType;
using enum Process;

constexpr std::string_view kRunStates[] = {"queued",    "starting", "running", "paused", "stopping",
                                           "succeeded", "halted",   "pruned",  "failed", "cancelled"};
constexpr std::string_view kFinalStates[] = {"succeeded", "halted", "pruned", "failed", "cancelled"};
constexpr std::string_view kWorkerStates[] = {"live", "draining", "away", "silent"};
constexpr std::string_view kHaltReasons[] = {"collapse", "overload", "divergence", "non_finite", "plateau"};
constexpr std::string_view kEventKinds[] = {"submit_sweep",    "act_on_run",       "retry_run",
                                            "worker_joined",   "worker_heartbeat", "worker_disconnected",
                                            "attempt_started", "attempt_ended",    "checkpoint_published",
                                            "verdict_reached", "run_judged",       "rung_reached",
                                            "run_progressed",  "act_on_worker",    "retire_checkpoints",
                                            "release_sweep",   "store_restored",   "tick"};
constexpr KnownRule kRules[] = {{"collapse.cascade", "collapse"},
                                {"collapse.whole_layer", "collapse"},
                                {"collapse.share_of_heads", "collapse"},
                                {"non_finite.loss", "non_finite"},
                                {"non_finite.grad_norm", "non_finite"},
                                {"non_finite.score", "non_finite"},
                                {"non_finite.entropy", "non_finite"},
                                {"divergence", "divergence"},
                                {"spike", "divergence"},
                                {"max_score", "divergence"},
                                {"overload", "overload"},
                                {"plateau", "plateau"}};
constexpr auto kRuleNames = [] {
  std::array<std::string_view, std::size(kRules)> names;
  for (std::size_t i = 0; i < names.size(); ++i) names[i] = kRules[i].rule;
  return names;
}();
constexpr std::string_view kActions[] = {"stop_and_keep", "stop", "notify", "pause", "rescue"};
constexpr std::string_view kPoolStates[] = {"pending", "up", "leaving", "max"};
constexpr std::string_view kLimits[] = {"max_samples_per_batch", "max_log_lines_per_chunk", "webhook", "verdict_series", "artifact_quota", "sample_quota", "log_quota"};
constexpr std::string_view kRetentionKinds[] = {"checkpoint", "orphan", "upload", "dataset", "samples", "log_lines"};
constexpr std::string_view kLayerStats[] = {"min", "p25", "median", "p75", "max", "mean"};
constexpr std::string_view kQuarters[] = {"1", "2", "3", "4"};

constexpr Label kRun{"run", "the run's id", {}};
constexpr Label kLayer{"layer", "layer, from 0", {}};
constexpr Label kSweep{"sweep", "the sweep's name", {}};
constexpr Label kRunLabel{"label", "the run's label in its sweep", {}};
constexpr Label kRunOnly[] = {kRun};
constexpr Label kInfoLabels[] = {kRun,
                                 kSweep,
                                 {"variant", "the variant's name", {}},
                                 kRunLabel,
                                 {"attempt", "number of the attempt that runs now", {}}};
constexpr Label kHeadLabels[] = {kRun, kLayer, {"head", "head in its layer, from 0", {}}};
constexpr Label kLayerLabels[] = {kRun, kLayer};
constexpr Label kLayerStatLabels[] = {kRun, kLayer, {"stat", "over the layer's heads", kLayerStats}};
constexpr Label kQuarterLabels[] = {kRun, {"quarter", "quarter of ln T, 1 is the lowest", kQuarters}};
constexpr Label kRunStateLabel[] = {{"state", "the run's state", kRunStates}};
constexpr Label kFinalStateLabel[] = {{"state", "the final state", kFinalStates}};
constexpr Label kWorkerStateLabel[] = {{"state", "the worker's state", kWorkerStates}};
constexpr Label kKindLabel[] = {{"kind", "the event's type", kEventKinds}};
constexpr Label kReason{"reason", "what the rule speaks of; a run that it ends is halted for that", kHaltReasons};
constexpr Label kRule{"rule", "the health rule (policy.md)", kRuleNames};
constexpr Label kAction{"action", "what follows from the verdict", kActions};
constexpr Label kVerdictLabels[] = {kReason, kRule, kAction};
constexpr Label kRunVerdictLabels[] = {kRun, kSweep, kRunLabel, kReason, kRule, kAction};
constexpr Label kPool{"pool", "the pool's name", {}};
constexpr Label kPoolLabel[] = {kPool};
constexpr Label kPoolStateLabels[] = {kPool, {"state", "the machine's state", kPoolStates}};
constexpr Label kRetentionLabel[] = {{"kind", "what was deleted", kRetentionKinds}};
constexpr Label kLimitLabel[] = {{"limit", "the limit's name", kLimits}};

constexpr double kQueueWaitBuckets[] = {0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400};
constexpr double kGangStartBuckets[] = {0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300};
constexpr double kCommitBuckets[] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5};
constexpr double kDecisionBuckets[] = {0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005,
                                       0.001,   0.0025,   0.005,   0.01,   0.05,    0.25};

constexpr Metric kMetricTable[] = {
    {kRunInfo,
     kWorker,
     kGauge,
     "entrain_run_info",
     "",
     kInfoLabels,
     "1 for every run with series here; joins a run's id to what people know it by.",
     {}},
    {kRunTargetSteps,
     kWorker,
     kGauge,
     "entrain_run_target_steps",
     "steps",
     kRunOnly,
     "Optimiser steps of the whole run.",
     {}},
    {kRunEntropyBound,
     kWorker,
     kGauge,
     "entrain_run_entropy_bound_nats",
     "nats",
     kRunOnly,
     "U = ln(T!)/T, the largest mean entropy that a causal head can reach.",
     {}},
    {kHeadEntropy,
     kWorker,
     kGauge,
     "entrain_attention_entropy_nats",
     "nats",
     kHeadLabels,
     "Mean entropy of the head's attention rows at the newest step.",
     {}},
    {kHeadEntropyWindowMin,
     kWorker,
     kGauge,
     "entrain_attention_entropy_window_min_nats",
     "nats",
     kHeadLabels,
     "Smallest entropy of the head within the window (60 s by default), so that a scrape does not miss a dip.",
     {}},
    {kLayerEntropy,
     kWorker,
     kGauge,
     "entrain_layer_entropy_nats",
     "nats",
     kLayerStatLabels,
     "Head entropies of a layer at the newest step.",
     {}},
    {kRunHeads,
     kWorker,
     kGauge,
     "entrain_run_heads",
     "heads",
     kQuarterLabels,
     "Heads by quarter of ln T at the newest step.",
     {}},
    {kLayerMaxAbsScore,
     kWorker,
     kGauge,
     "entrain_layer_max_abs_score",
     "",
     kLayerLabels,
     "Largest absolute attention score of the layer at the newest step.",
     {}},
    {kLayerTheta,
     kWorker,
     kGauge,
     "entrain_layer_theta",
     "",
     kLayerLabels,
     "Mean threshold theta of the entropy regulariser over the layer's heads; only for regularised runs.",
     {}},
    {kRunStep, kWorker, kGauge, "entrain_run_step", "steps", kRunOnly, "Optimiser steps done.", {}},
    {kRunLoss,
     kWorker,
     kGauge,
     "entrain_run_loss_nats",
     "nats a token",
     kRunOnly,
     "Training cross-entropy of the newest step.",
     {}},
    {kRunRegulariser,
     kWorker,
     kGauge,
     "entrain_run_regulariser",
     "",
     kRunOnly,
     "Value of the entropy regulariser at the newest step, not multiplied by lambda.",
     {}},
    {kRunGradientNorm,
     kWorker,
     kGauge,
     "entrain_run_gradient_norm",
     "",
     kRunOnly,
     "Global L2 norm of the gradient before clipping.",
     {}},
    {kRunLearningRate,
     kWorker,
     kGauge,
     "entrain_run_learning_rate",
     "",
     kRunOnly,
     "Learning rate of the newest step.",
     {}},
    {kRunTokens,
     kWorker,
     kCounter,
     "entrain_run_tokens_total",
     "tokens",
     kRunOnly,
     "Tokens trained since the run's first step; flat while a resumed attempt repeats steps.",
     {}},
    {kRunTokensPerSecond,
     kWorker,
     kGauge,
     "entrain_run_tokens_per_second",
     "tokens/s",
     kRunOnly,
     "Throughput of the newest step.",
     {}},
    {kRunEvalLoss,
     kWorker,
     kGauge,
     "entrain_run_eval_loss_nats",
     "nats a token",
     kRunOnly,
     "Loss of the newest held-out evaluation; perplexity is its exponential.",
     {}},
    {kRunEvalStep,
     kWorker,
     kGauge,
     "entrain_run_eval_step",
     "steps",
     kRunOnly,
     "Step of the newest held-out evaluation.",
     {}},
    {kRunLastSample,
     kWorker,
     kGauge,
     "entrain_run_last_sample_timestamp_seconds",
     "Unix seconds",
     kRunOnly,
     "When the newest step arrived here.",
     {}},
    {kWorkerSlots, kWorker, kGauge, "entrain_worker_slots", "slots", {}, "Slots of this machine.", {}},
    {kWorkerSlotsUsed, kWorker, kGauge, "entrain_worker_slots_used", "slots", {}, "Slots that attempts hold.", {}},
    {kWorkerCoordinatorConnected,
     kWorker,
     kGauge,
     "entrain_worker_coordinator_connected",
     "",
     {},
     "1 while the control stream to the coordinator is open.",
     {}},
    {kWorkerSamplesSent,
     kWorker,
     kCounter,
     "entrain_worker_samples_sent_total",
     "samples",
     {},
     "Samples that the coordinator acknowledged.",
     {}},
    {kWorkerLogLinesDropped,
     kWorker,
     kCounter,
     "entrain_worker_log_lines_dropped_total",
     "lines",
     {},
     "Log lines given up so that samples did not wait.",
     {}},
    {kWorkerPauses,
     kWorker,
     kCounter,
     "entrain_worker_pauses_total",
     "runs",
     {},
     "Runs paused at a checkpoint by a health rule here while the coordinator was away.",
     {}},
    {kWorkerDiskFree,
     kWorker,
     kGauge,
     "entrain_worker_disk_free_bytes",
     "bytes",
     {},
     "Free space where the attempt folders lie.",
     {}},
    {kRuns, kCoordinator, kGauge, "entrain_runs", "runs", kRunStateLabel, "Runs by state.", {}},
    {kWorkers, kCoordinator, kGauge, "entrain_workers", "workers", kWorkerStateLabel, "Workers by state.", {}},
    {kSlots, kCoordinator, kGauge, "entrain_slots", "slots", {}, "Slots of all workers.", {}},
    {kSlotsUsed, kCoordinator, kGauge, "entrain_slots_used", "slots", {}, "Slots that gangs hold.", {}},
    {kQueueWaitSeconds,
     kCoordinator,
     kHistogram,
     "entrain_queue_wait_seconds",
     "seconds",
     {},
     "Time of a run from entering the queue (submitted, resumed, queued again) to being placed.",
     kQueueWaitBuckets},
    {kGangStartSeconds,
     kCoordinator,
     kHistogram,
     "entrain_gang_start_seconds",
     "seconds",
     {},
     "Time from placing a gang until all its ranks are up.",
     kGangStartBuckets},
    {kCommitSeconds,
     kCoordinator,
     kHistogram,
     "entrain_commit_seconds",
     "seconds",
     {},
     "Time of one journal transaction.",
     kCommitBuckets},
    {kCommittedFacts, kCoordinator, kCounter, "entrain_committed_facts_total", "facts", {}, "Facts made durable.", {}},
    {kDecisionSeconds,
     kCoordinator,
     kHistogram,
     "entrain_decision_seconds",
     "seconds",
     {},
     "Time to decide one batch of events.",
     kDecisionBuckets},
    {kEvents, kCoordinator, kCounter, "entrain_events_total", "events", kKindLabel, "Events decided.", {}},
    {kSamplesStored, kCoordinator, kCounter, "entrain_samples_stored_total", "samples", {}, "Samples stored.", {}},
    {kVerdicts,
     kCoordinator,
     kCounter,
     "entrain_verdicts_total",
     "verdicts",
     kVerdictLabels,
     "Verdicts of health rules.",
     {}},
    {kRunVerdict,
     kCoordinator,
     kGauge,
     "entrain_run_verdict_timestamp_seconds",
     "Unix seconds",
     kRunVerdictLabels,
     "When a health rule gave its verdict on a run; the series ends ten minutes later.",
     {}},
    {kRunsFinished,
     kCoordinator,
     kCounter,
     "entrain_runs_finished_total",
     "runs",
     kFinalStateLabel,
     "Runs that reached a final state.",
     {}},
    {kLimitsReached,
     kCoordinator,
     kCounter,
     "entrain_limits_reached_total",
     "times",
     kLimitLabel,
     "Times a configured limit was reached.",
     {}},
    {kCoordinatorDiskFree,
     kCoordinator,
     kGauge,
     "entrain_coordinator_disk_free_bytes",
     "bytes",
     {},
     "Free space where the store lies.",
     {}},
    {kPoolMachines,
     kCoordinator,
     kGauge,
     "entrain_pool_machines",
     "machines",
     kPoolStateLabels,
     "Machines of an elastic pool, as its engine says: pending, up, leaving; max: as many as it may have.",
     {}},
    {kPoolFailures,
     kCoordinator,
     kCounter,
     "entrain_pool_failures_total",
     "times",
     kPoolLabel,
     "Times a pool's engine refused or did not answer, or a machine ended before its worker registered.",
     {}},
    {kArtifactBytes,
     kCoordinator,
     kGauge,
     "entrain_artifact_bytes",
     "bytes",
     {},
     "Datasets and checkpoints in the artifact root, as of retention's last pass.",
     {}},
    {kRetentionDeleted,
     kCoordinator,
     kCounter,
     "entrain_retention_deleted_total",
     "",
     kRetentionLabel,
     "Folders, samples or log lines that retention deleted.",
     {}},
    {kRetentionFreedBytes,
     kCoordinator,
     kCounter,
     "entrain_retention_freed_bytes_total",
     "bytes",
     kRetentionLabel,
     "Bytes that retention freed; of samples and logs about.",
     {}},
};

constexpr bool TableFollowsEnum() {
  std::size_t index = 0;
  for (const Metric& metric : kMetricTable) {
    if (static_cast<std::size_t>(metric.id) != index++) return false;
  }
  return index == static_cast<std::size_t>(kCount);
}
static_assert(TableFollowsEnum(), "a row for every MetricId, in its order");

}  // namespace

const Metric& Describe(MetricId id) {
  ENTRAIN_CHECK(id < kCount);
  return kMetricTable[static_cast<std::size_t>(id)];
}

std::span<const Metric> AllMetrics() { return kMetricTable; }

std::string_view NameOf(MetricId id) { return Describe(id).name; }

std::span<const std::string_view> KnownValues(MetricId id) {
  const Metric& metric = Describe(id);
  ENTRAIN_CHECK(!metric.labels.empty());
  return metric.labels.back().values;
}

std::span<const KnownRule> KnownRules() { return kRules; }

std::span<const std::string_view> KnownActions() { return kActions; }

}  // namespace entrain::metrics
