// Every metric of entrain: one table of names, labels, units and help. docs/metrics.md, the probes, the alert rules and the dashboards
// take them from here.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace entrain::metrics {

enum class MetricType { kGauge, kCounter, kHistogram };
enum class Process { kWorker, kCoordinator };

// In the order of the table.
enum class MetricId {
  // Worker: one run.
  kRunInfo, kRunTargetSteps, kRunEntropyBound,
  kHeadEntropy, kHeadEntropyWindowMin, kLayerEntropy, kRunHeads, kLayerMaxAbsScore, kLayerTheta,
  kRunStep, kRunLoss, kRunRegulariser, kRunGradientNorm, kRunLearningRate, kRunTokens, kRunTokensPerSecond,
  kRunEvalLoss, kRunEvalStep, kRunLastSample,
  // Worker: the machine.
  kWorkerSlots, kWorkerSlotsUsed, kWorkerCoordinatorConnected, kWorkerSamplesSent, kWorkerLogLinesDropped, kWorkerPauses,
  kWorkerDiskFree,
  // Coordinator.
  kRuns, kWorkers, kSlots, kSlotsUsed, kQueueWaitSeconds, kGangStartSeconds, kCommitSeconds, kCommittedFacts, kDecisionSeconds,
  kEvents, kSamplesStored, kVerdicts, kRunVerdict, kRunsFinished, kLimitsReached, kCoordinatorDiskFree, kPoolMachines, kPoolFailures,
  kArtifactBytes, kRetentionDeleted, kRetentionFreedBytes,
  kCount
};

// A label; `values` are all that it can take where they are known beforehand (their series exist at 0 from the start).
struct Label {
  std::string_view name;
  std::string_view meaning;
  std::span<const std::string_view> values;
};

struct Metric {
  MetricId id;
  Process process;
  MetricType type;
  std::string_view name;
  std::string_view unit;  // "" for counts and states
  std::span<const Label> labels;
  std::string_view help;
  // Upper bounds of a histogram's buckets.
  std::span<const double> buckets;
};

const Metric& Describe(MetricId id);
std::span<const Metric> AllMetrics();
std::string_view NameOf(MetricId id);
// The values known beforehand of the metric's last label.
std::span<const std::string_view> KnownValues(MetricId id);

// A health rule and what a run that it ends is said to have ended by.
struct KnownRule {
  std::string_view rule;
  std::string_view reason;
};
std::span<const KnownRule> KnownRules();
std::span<const std::string_view> KnownActions();

// Heads that have series of their own at one time on a worker, unless it is told otherwise.
inline constexpr std::int64_t kMaxHeadSeries = 4'096;
// Verdicts that have a series of their own at one time.
inline constexpr std::size_t kMaxVerdictSeries = 1'000;

// docs/metrics.md; a test holds the file equal to this.
std::string MetricsMarkdown();

}  // namespace entrain::metrics
