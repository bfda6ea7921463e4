#include "metrics/coordinator_metrics.h"

#include "base/status_macros.h"
#include "metrics/exposition.h"
#include "metrics/families.h"

namespace entrain::metrics {
namespace {

using enum MetricId;

// The families lock for themselves.
class CoordinatorMetricsImpl : public CoordinatorMetrics {
 public:
  CoordinatorMetricsImpl() : families_(Process::kCoordinator) {}

  absl::Status Start(const std::string& address) {
    ENTRAIN_ASSIGN_OR_RETURN(exposition_, Exposition::Serve(address, [this] { return families_.Collect(); }));
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
  void ObserveCommit(double seconds, std::int64_t facts) override {
    families_.Histogram(kCommitSeconds).Observe(seconds);
    families_.Counter(kCommittedFacts).Increment(static_cast<double>(facts));
  }
  void ObserveDecision(double seconds) override { families_.Histogram(kDecisionSeconds).Observe(seconds); }
  void CountEvent(const std::string& kind) override { families_.Counter(kEvents, kind).Increment(); }
  void CountSamplesStored(std::int64_t samples) override {
    families_.Counter(kSamplesStored).Increment(static_cast<double>(samples));
  }
  void CountVerdict(const std::string& reason) override { families_.Counter(kVerdicts, reason).Increment(); }
  void CountRunFinished(const std::string& state) override { families_.Counter(kRunsFinished, state).Increment(); }
  void CountLimitReached(const std::string& limit) override { families_.Counter(kLimitsReached, limit).Increment(); }
  void SetDiskFree(std::int64_t bytes) override { families_.Gauge(kCoordinatorDiskFree).Set(static_cast<double>(bytes)); }

 private:
  Families families_;
  // Last: its threads end before what they read.
  std::unique_ptr<Exposition> exposition_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<CoordinatorMetrics>> CoordinatorMetrics::Serve(const std::string& address) {
  auto metrics = std::make_unique<CoordinatorMetricsImpl>();
  ENTRAIN_RETURN_IF_ERROR(metrics->Start(address));
  return metrics;
}

}  // namespace entrain::metrics
