#include "metrics/coordinator_metrics.h"

#include <deque>
#include <mutex>

#include "base/check.h"
#include "base/status_macros.h"
#include "metrics/exposition.h"
#include "metrics/families.h"

namespace entrain::metrics {
namespace {

using enum MetricId;

prometheus::Labels KindOf(const std::string& reason, const std::string& rule, const std::string& action) {
  return {{"reason", reason}, {"rule", rule}, {"action", action}};
}

// The newest verdicts, each a series that ends by itself. Thread-safe.
class VerdictSeries {
 public:
  VerdictSeries(Families* families, const Clock* clock) : families_(families), clock_(clock) {}

  // False when the oldest had to go for it.
  bool Add(const VerdictLabels& verdict) {
    const std::lock_guard lock(mutex_);
    prometheus::Labels labels = KindOf(verdict.reason, verdict.rule, verdict.action);
    labels.insert({{"run", verdict.run_id}, {"sweep", verdict.sweep}, {"label", verdict.label}});
    // The same rule may speak of a run again after a resume; the newer time counts.
    std::erase_if(shown_, [&](const Shown& shown) { return shown.labels == labels; });
    auto series = std::make_unique<SeriesGroup>(families_);
    series->AddGauge(MetricId::kRunVerdict, labels)->Set(static_cast<double>(clock_->WallMs()) / 1000.0);
    shown_.push_back({std::move(labels), std::move(series), clock_->BootMs()});
    if (shown_.size() <= kMaxVerdictSeries) return true;
    shown_.pop_front();
    return false;
  }

  void DropExpired() {
    const std::lock_guard lock(mutex_);
    while (!shown_.empty() && clock_->BootMs() - shown_.front().since_ms >= CoordinatorMetrics::kVerdictSeriesMs) shown_.pop_front();
  }

 private:
  struct Shown {
    prometheus::Labels labels;
    std::unique_ptr<SeriesGroup> series;
    std::int64_t since_ms;
  };
  Families* families_;
  const Clock* clock_;
  std::mutex mutex_;
  std::deque<Shown> shown_;  // oldest first
};

// The families lock for themselves.
class CoordinatorMetricsImpl : public CoordinatorMetrics {
 public:
  explicit CoordinatorMetricsImpl(const Clock* clock) : families_(Process::kCoordinator), verdicts_(&families_, clock) {
    for (const KnownRule& known : KnownRules()) {
      for (std::string_view action : KnownActions()) {
        families_.Counters(kVerdicts).Add(KindOf(std::string(known.reason), std::string(known.rule), std::string(action)));
      }
    }
  }

  absl::Status Start(const std::string& address) {
    ENTRAIN_ASSIGN_OR_RETURN(exposition_, Exposition::Serve(address, [this] {
      verdicts_.DropExpired();
      return families_.Collect();
    }));
    return absl::OkStatus();
  }

  int port() const override { return exposition_->port(); }

  void SetRunsInState(const std::string& state, std::int64_t runs) override {
    families_.Gauge(kRuns, state).Set(static_cast<double>(runs));
  }
  void SetWorkersInState(const std::string& state, std::int64_t workers) override {
    families_.Gauge(kWorkers, state).Set(static_cast<double>(workers));
  }
  void SetSlots(std::int64_t total, std::int64_t used) override {
    families_.Gauge(kSlots).Set(static_cast<double>(total));
    families_.Gauge(kSlotsUsed).Set(static_cast<double>(used));
  }
  void ObserveQueueWait(double seconds) override { families_.Histogram(kQueueWaitSeconds).Observe(seconds); }
  void ObserveGangStart(double seconds) override { families_.Histogram(kGangStartSeconds).Observe(seconds); }
  void ObserveCommit(double seconds, std::int64_t facts) override {
    families_.Histogram(kCommitSeconds).Observe(seconds);
    families_.Counter(kCommittedFacts).Increment(static_cast<double>(facts));
  }
  void ObserveDecision(double seconds) override { families_.Histogram(kDecisionSeconds).Observe(seconds); }
  void CountEvent(const std::string& kind) override { families_.Counter(kEvents, kind).Increment(); }
  void CountSamplesStored(std::int64_t samples) override {
    families_.Counter(kSamplesStored).Increment(static_cast<double>(samples));
  }
  void CountVerdict(const VerdictLabels& verdict) override {
    families_.Counters(kVerdicts).Add(KindOf(verdict.reason, verdict.rule, verdict.action)).Increment();
    if (!verdicts_.Add(verdict)) CountLimitReached("verdict_series");
  }
  void CountRunFinished(const std::string& state) override { families_.Counter(kRunsFinished, state).Increment(); }
  void CountLimitReached(const std::string& limit) override { families_.Counter(kLimitsReached, limit).Increment(); }
  void SetPoolMachines(const std::string& pool, const std::string& state, std::int64_t machines) override {
    families_.Gauges(kPoolMachines).Add({{"pool", pool}, {"state", state}}).Set(static_cast<double>(machines));
  }
  void CountPoolFailures(const std::string& pool, std::int64_t failures) override {
    families_.Counter(kPoolFailures, pool).Increment(static_cast<double>(failures));
  }
  void SetArtifactBytes(std::int64_t bytes) override { families_.Gauge(kArtifactBytes).Set(static_cast<double>(bytes)); }
  void CountRetention(const std::string& kind, std::int64_t count, std::int64_t bytes) override {
    families_.Counter(kRetentionDeleted, kind).Increment(static_cast<double>(count));
    families_.Counter(kRetentionFreedBytes, kind).Increment(static_cast<double>(bytes));
  }
  void SetDiskFree(std::int64_t bytes) override { families_.Gauge(kCoordinatorDiskFree).Set(static_cast<double>(bytes)); }

 private:
  Families families_;
  VerdictSeries verdicts_;
  // Last: its threads end before what they read.
  std::unique_ptr<Exposition> exposition_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<CoordinatorMetrics>> CoordinatorMetrics::Serve(const std::string& address, const Clock* clock) {
  ENTRAIN_CHECK(clock != nullptr);
  auto metrics = std::make_unique<CoordinatorMetricsImpl>(clock);
  ENTRAIN_RETURN_IF_ERROR(metrics->Start(address));
  return metrics;
}

}  // namespace entrain::metrics
