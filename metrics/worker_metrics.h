// What one worker measures: the runs whose rank 0 it hosts, and itself.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "domain/sample.h"
#include "metrics/names.h"

namespace entrain::metrics {

struct RunLabels {
  std::string run_id;
  std::string sweep;
  std::string variant;
  std::string label;
  std::int64_t n_layer = 0;
  std::int64_t n_head = 0;
  std::int64_t context = 0;
  std::int64_t steps = 0;
};

// How many series a worker may hold, and for how long after a run.
struct SeriesLimits {
  // A run's series end after its second scrape, at the latest this long after its end.
  std::int64_t grace_ms = 300'000;
  // Heads that may have series of their own at one time, over all runs of the worker. A run that would go beyond has only its
  // per-layer series.
  std::int64_t max_heads = kMaxHeadSeries;
};

// Span of the window minimum.
inline constexpr std::int64_t kWindowMs = 60'000;

// All series of one worker. Thread-safe; a scrape sees a sample whole or not at all.
class WorkerMetrics {
 public:
  // Serves /metrics and /healthz on `address` ("127.0.0.1:0" takes a free port). UNAVAILABLE names the address when it is taken.
  // `window_ms` is the span of the window minimum. `clock` outlives the result.
  static absl::StatusOr<std::unique_ptr<WorkerMetrics>> Serve(const std::string& address, const Clock* clock,
                                                              std::int64_t window_ms = kWindowMs,
                                                              const SeriesLimits& limits = {});
  virtual ~WorkerMetrics() = default;
  virtual int port() const = 0;

  // A further attempt of a known run continues its series; only its info series changes.
  virtual void RunBegan(const RunLabels& labels, std::uint32_t attempt) = 0;
  // Of an unknown run: ignored, and so are entropies that do not have the announced shape.
  virtual void Observe(const std::string& run_id, const domain::EntropySample& sample) = 0;
  virtual void Observe(const std::string& run_id, const domain::Evaluation& evaluation) = 0;
  // The run's series are in the next two scrapes and in none after (at the latest gone after the grace time).
  virtual void RunEnded(const std::string& run_id) = 0;
  virtual void SetSlots(std::int64_t total, std::int64_t used) = 0;
  virtual void CountDroppedLogLines(std::int64_t lines) = 0;
  // Samples that the coordinator acknowledged.
  virtual void CountEventsSent(std::int64_t samples) = 0;
  // A run was paused by a health rule here, while the coordinator was away.
  virtual void CountPause() = 0;
  virtual void SetCoordinatorConnected(bool connected) = 0;
  virtual void SetDiskFree(std::int64_t bytes) = 0;
};

}  // namespace entrain::metrics
