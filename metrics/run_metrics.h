// Every metric name, label and unit of entrain, and the probes that set them. docs/metrics.md is checked against this room.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "domain/sample.h"

namespace entrain::metrics {

// Serves /metrics (and /healthz) on `address` ("127.0.0.1:0" takes a free port). UNAVAILABLE names the address when it is taken.
class Exposer;

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

// All series of one worker. Thread-safe.
class WorkerMetrics {
 public:
  // `window_ms` is the span of the *_window_min twins.
  static absl::StatusOr<std::unique_ptr<WorkerMetrics>> Serve(const std::string& address, const Clock* clock,
                                                              std::int64_t window_ms = 60'000);
  virtual ~WorkerMetrics() = default;
  virtual int port() const = 0;

  virtual void RunBegan(const RunLabels& labels, std::uint32_t attempt) = 0;
  virtual void Observe(const std::string& run_id, const domain::EntropySample& sample) = 0;
  virtual void Observe(const std::string& run_id, const domain::Evaluation& evaluation) = 0;
  // The run's series go two scrapes (at the latest `grace_ms`) after this.
  virtual void RunEnded(const std::string& run_id) = 0;
  virtual void SetSlots(std::int64_t total, std::int64_t used) = 0;
  virtual void CountDroppedLogLines(std::int64_t lines) = 0;
  virtual void CountEventsSent(std::int64_t samples) = 0;
  virtual void SetCoordinatorConnected(bool connected) = 0;
};

// All series of the coordinator. Thread-safe.
class CoordinatorMetrics {
 public:
  static absl::StatusOr<std::unique_ptr<CoordinatorMetrics>> Serve(const std::string& address);
  virtual ~CoordinatorMetrics() = default;
  virtual int port() const = 0;

  virtual void SetRunsInState(const std::string& state, std::int64_t runs) = 0;
  virtual void SetWorkersInState(const std::string& state, std::int64_t workers) = 0;
  virtual void SetSlots(std::int64_t total, std::int64_t used) = 0;
  virtual void ObserveCommit(double seconds, std::int64_t facts) = 0;
  virtual void ObserveDecision(double seconds) = 0;
  virtual void CountEvent(const std::string& kind) = 0;
  virtual void CountSamplesStored(std::int64_t samples) = 0;
  virtual void CountVerdict(const std::string& reason) = 0;
  virtual void CountRunFinished(const std::string& state) = 0;
  // Reaching a configured limit.
  virtual void CountLimitReached(const std::string& limit) = 0;
};

}  // namespace entrain::metrics
