#include "metrics/worker_metrics.h"

#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/status_macros.h"
#include "metrics/exposition.h"
#include "metrics/families.h"
#include "metrics/run_series.h"

namespace entrain::metrics {
namespace {

using enum MetricId;

// Scrapes in which the series of a finished run are still there.
constexpr int kScrapesAfterEnd = 2;

class WorkerMetricsImpl : public WorkerMetrics {
 public:
  WorkerMetricsImpl(const Clock* clock, std::int64_t window_ms, const SeriesLimits& limits)
      : clock_(clock), window_ms_(window_ms), limits_(limits), families_(Process::kWorker) {}

  absl::Status Start(const std::string& address) {
    ENTRAIN_ASSIGN_OR_RETURN(exposition_, Exposition::Serve(address, [this] { return Scrape(); }));
    return absl::OkStatus();
  }

  int port() const override { return exposition_->port(); }

  void RunBegan(const RunLabels& labels, std::uint32_t attempt) override {
    const std::lock_guard lock(mutex_);
    DropExpired();
    Run& run = runs_[labels.run_id];
    run.end.reset();
    if (run.series == nullptr) {
      const bool with_heads = HeadSeries() + labels.n_layer * labels.n_head <= limits_.max_heads;
      run.series = std::make_unique<RunSeries>(&families_, labels, with_heads, window_ms_);
    }
    run.series->SetAttempt(attempt);
  }

  void Observe(const std::string& run_id, const domain::EntropySample& sample) override {
    const std::lock_guard lock(mutex_);
    const auto found = runs_.find(run_id);
    if (found != runs_.end()) found->second.series->Observe(sample, clock_->BootMs(), clock_->WallMs());
  }

  void Observe(const std::string& run_id, const domain::Evaluation& evaluation) override {
    const std::lock_guard lock(mutex_);
    const auto found = runs_.find(run_id);
    if (found != runs_.end()) found->second.series->Observe(evaluation);
  }

  void RunEnded(const std::string& run_id) override {
    const std::lock_guard lock(mutex_);
    DropExpired();
    const auto found = runs_.find(run_id);
    if (found != runs_.end() && !found->second.end) found->second.end = End{clock_->BootMs(), 0};
  }

  void SetSlots(std::int64_t total, std::int64_t used) override {
    const std::lock_guard lock(mutex_);
    families_.Gauge(kWorkerSlots).Set(static_cast<double>(total));
    families_.Gauge(kWorkerSlotsUsed).Set(static_cast<double>(used));
  }
  void CountDroppedLogLines(std::int64_t lines) override {
    families_.Counter(kWorkerLogLinesDropped).Increment(static_cast<double>(lines));
  }
  void CountEventsSent(std::int64_t samples) override {
    families_.Counter(kWorkerSamplesSent).Increment(static_cast<double>(samples));
  }
  void CountPause() override { families_.Counter(kWorkerPauses).Increment(); }
  void SetCoordinatorConnected(bool connected) override {
    families_.Gauge(kWorkerCoordinatorConnected).Set(connected ? 1 : 0);
  }
  void SetDiskFree(std::int64_t bytes) override { families_.Gauge(kWorkerDiskFree).Set(static_cast<double>(bytes)); }

 private:
  struct End {
    std::int64_t at_ms = 0;
    int scrapes = 0;
  };
  struct Run {
    std::unique_ptr<RunSeries> series;
    std::optional<End> end;
  };

  std::int64_t HeadSeries() const {
    std::int64_t heads = 0;
    for (const auto& [id, run] : runs_) heads += run.series == nullptr ? 0 : run.series->head_series();
    return heads;
  }

  void DropExpired() {
    const std::int64_t now_ms = clock_->BootMs();
    std::erase_if(runs_, [&](const auto& entry) {
      const auto& end = entry.second.end;
      return end && (end->scrapes >= kScrapesAfterEnd || now_ms - end->at_ms >= limits_.grace_ms);
    });
  }

  std::vector<prometheus::MetricFamily> Scrape() {
    const std::lock_guard lock(mutex_);
    DropExpired();
    for (auto& [id, run] : runs_) run.series->ExpireWindow(clock_->BootMs());
    std::vector<prometheus::MetricFamily> collected = families_.Collect();
    for (auto& [id, run] : runs_) {
      if (run.end) ++run.end->scrapes;
    }
    DropExpired();
    return collected;
  }

  const Clock* clock_;
  const std::int64_t window_ms_;
  const SeriesLimits limits_;
  std::mutex mutex_;
  Families families_;
  std::map<std::string, Run> runs_;
  // Last: its threads end before what they read.
  std::unique_ptr<Exposition> exposition_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<WorkerMetrics>> WorkerMetrics::Serve(const std::string& address, const Clock* clock,
                                                                    std::int64_t window_ms, const SeriesLimits& limits) {
  ENTRAIN_CHECK(clock != nullptr);
  auto metrics = std::make_unique<WorkerMetricsImpl>(clock, window_ms, limits);
  ENTRAIN_RETURN_IF_ERROR(metrics->Start(address));
  return metrics;
}

}  // namespace entrain::metrics
