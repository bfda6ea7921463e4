// What the coordinator measures.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/clock.h"

namespace entrain::metrics {

// A verdict of a health rule on a run.
struct VerdictLabels {
  std::string run_id;
  std::string sweep;  // its name
  std::string label;
  std::string reason;
  std::string rule;
  std::string action;
};

// All series of the coordinator. Thread-safe. Label values known beforehand exist at 0 from the start; others appear when first
// used. States, reasons and actions are spelled as in domain/.
class CoordinatorMetrics {
 public:
  // How long a verdict has a series of its own.
  static constexpr std::int64_t kVerdictSeriesMs = 600'000;

  // Serves /metrics and /healthz on `address` ("127.0.0.1:0" takes a free port). UNAVAILABLE names the address when it is taken.
  // `clock` outlives the result.
  static absl::StatusOr<std::unique_ptr<CoordinatorMetrics>> Serve(const std::string& address, const Clock* clock);
  virtual ~CoordinatorMetrics() = default;
  virtual int port() const = 0;

  virtual void SetRunsInState(const std::string& state, std::int64_t runs) = 0;
  // "live", "draining", "away" (disconnected, its lease runs) or "silent".
  virtual void SetWorkersInState(const std::string& state, std::int64_t workers) = 0;
  virtual void SetSlots(std::int64_t total, std::int64_t used) = 0;
  // From entering the queue to being placed, and from there to the gang being up.
  virtual void ObserveQueueWait(double seconds) = 0;
  virtual void ObserveGangStart(double seconds) = 0;
  // One transaction with `facts` facts.
  virtual void ObserveCommit(double seconds, std::int64_t facts) = 0;
  virtual void ObserveDecision(double seconds) = 0;
  // `kind` is the event's type in snake case: "submit_sweep", "worker_heartbeat", ...
  virtual void CountEvent(const std::string& kind) = 0;
  virtual void CountSamplesStored(std::int64_t samples) = 0;
  // Counts it, and shows it as a series of its own for kVerdictSeriesMs; the newest kMaxVerdictSeries of these stay.
  virtual void CountVerdict(const VerdictLabels& verdict) = 0;
  virtual void CountRunFinished(const std::string& state) = 0;
  // Reaching a configured limit, named as in the configuration.
  virtual void CountLimitReached(const std::string& limit) = 0;
  virtual void SetDiskFree(std::int64_t bytes) = 0;
  // "pending", "up", "leaving", and "max".
  virtual void SetPoolMachines(const std::string& pool, const std::string& state, std::int64_t machines) = 0;
  // 0 makes the series.
  virtual void CountPoolFailures(const std::string& pool, std::int64_t failures) = 0;
  // Datasets and checkpoints together, as of retention's last pass.
  virtual void SetArtifactBytes(std::int64_t bytes) = 0;
  // What retention deleted: "checkpoint", "orphan", "upload", "dataset", "samples" or "log_lines".
  virtual void CountRetention(const std::string& kind, std::int64_t count, std::int64_t bytes) = 0;
};

}  // namespace entrain::metrics
