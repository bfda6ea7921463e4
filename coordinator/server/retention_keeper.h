// Carries out retention: a thread that looks every so often what lies around, tells the core which checkpoints it no longer keeps, and deletes
// what nobody needs any more. It deletes files of a checkpoint only once the core's decision is durable.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "artifacts/pins.h"
#include "base/clock.h"
#include "coordinator/retention/checkpoint_plan.h"
#include "coordinator/retention/limits.h"
#include "coordinator/retention/report.h"
#include "coordinator/retention/root_sweep.h"
#include "coordinator/retention/stored_plan.h"
#include "coordinator/samples/published_state.h"
#include "coordinator/samples/sample_lane.h"
#include "coordinator/store/store.h"
#include "metrics/coordinator_metrics.h"

namespace entrain::server {

// All outlive the keeper; `metrics` may be null.
struct RetentionParts {
  const samples::PublishedState* published = nullptr;
  store::Store* store = nullptr;
  samples::SampleLane* lane = nullptr;
  const artifacts::Pins* pins = nullptr;
  metrics::CoordinatorMetrics* metrics = nullptr;
  const Clock* clock = nullptr;
  std::function<absl::Status(samples::EventBody)> post;
  std::string root;
  bool owns_root = false;
};

class RetentionKeeper {
 public:
  // `interval_s` 0: passes happen on request alone.
  RetentionKeeper(RetentionParts parts, const retention::Limits& limits, std::int64_t interval_s);
  ~RetentionKeeper();
  RetentionKeeper(const RetentionKeeper&) = delete;
  RetentionKeeper& operator=(const RetentionKeeper&) = delete;

  // One pass, now, on the caller's thread; passes wait for each other. Dry: nothing changes.
  absl::StatusOr<retention::PassReport> Pass(bool dry);

 private:
  void Run(std::int64_t interval_s);
  absl::Status Checkpoints(bool dry, retention::PassReport* report);
  absl::Status Stored(bool dry, retention::PassReport* report);
  void AwaitRetired(const retention::CheckpointPlan& plan);
  absl::Status CollectRetired(const core::State& before, const retention::CheckpointPlan& plan, bool dry, retention::PassReport* report);
  absl::Status CollectGarbage(const retention::RootContents& contents, bool dry, retention::PassReport* report);
  absl::Status CollectOne(retention::PassItem item, bool dry, retention::PassReport* report);
  absl::Status Thin(retention::StoredPlan::Thin thin, retention::PassItem* item);
  void Note(const retention::PassItem& item);
  void CountLimit(const std::string& limit, std::int64_t over_bytes);

  const RetentionParts parts_;
  const retention::Limits limits_;
  std::mutex passing_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace entrain::server
