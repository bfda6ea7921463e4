// The sample lane: batches are stored, acknowledged once durable, and judged in step order. Sharded by run; every shard judges on a
// thread of its own, storing happens on the callers' threads, which share transactions. The core's thread never waits here.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "coordinator/samples/published_state.h"
#include "coordinator/samples/run_judge.h"
#include "coordinator/store/store.h"
#include "domain/effect.h"

namespace entrain::samples {

struct LaneOptions {
  int shards = 2;
  // Stored batches that wait to be judged, a shard; Store blocks beyond it, so that a worker's stream is not read meanwhile.
  std::size_t max_waiting_batches = 256;
};

// Calls out of the lane; from its threads and from Store's callers.
struct LaneHooks {
  std::function<void(EventBody)> emit;  // to the core
  // The store failed: the process must end, verdicts can no longer be trusted.
  std::function<void(const absl::Status&)> fatal;
  std::function<void(std::int64_t samples)> stored;  // may be empty
};

// One batch of one attempt as decoded.
struct Batch {
  domain::AttemptKey key;
  std::vector<domain::EntropySample> samples;
  std::vector<domain::Evaluation> evaluations;
};

enum class Stored { kStored, kFenced };

class SampleLane {
 public:
  SampleLane(store::SampleStore* store, const PublishedState* published, LaneHooks hooks, const LaneOptions& options = {});
  // Ends the threads; what is stored and not judged is judged after the next start.
  ~SampleLane();
  SampleLane(const SampleLane&) = delete;
  SampleLane& operator=(const SampleLane&) = delete;

  // Returns once the batch is durable, or kFenced when its attempt is not the run's newest (it never will be again).
  // INVALID_ARGUMENT when it does not fit the run's shape; FAILED_PRECONDITION when the attempt is not known yet.
  absl::StatusOr<Stored> Store(Batch batch);

  // From the core; never block. The run must be in the published state.
  void Handle(const domain::BeginAttempt& effect);
  void Handle(const domain::JudgeThrough& effect);

  // Of a run that this process has judged; nullopt otherwise (ask the store).
  std::optional<RunProgress> ProgressOf(const RunId& run) const;

 private:
  class Shard;
  Shard& ShardOf(const RunId& run) const;

  store::SampleStore* const store_;
  const PublishedState* const published_;
  const LaneHooks hooks_;
  std::vector<std::unique_ptr<Shard>> shards_;
};

}  // namespace entrain::samples
