// A run's numbers for people: live ones from the sample lane, those of final runs from the store, at the step that counts.
#pragma once

#include <cstdint>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "coordinator/core/state.h"
#include "coordinator/samples/sample_lane.h"
#include "coordinator/store/store.h"

namespace entrain::rpc {

struct RunResult {
  std::int64_t step = 0;  // 0: no sample yet
  double loss = 0.0;
  std::int64_t tokens = 0;
  double tokens_per_second = 0.0;
  double eval_loss = 0.0;       // the last; 0: none yet
  double best_eval_loss = 0.0;  // the lowest; 0: none yet
  std::vector<float> entropy_nats;
};

// Thread-safe.
class RunResults {
 public:
  RunResults(const samples::SampleLane* lane, store::SampleStore* store) : lane_(lane), store_(store) {}
  // Empty numbers when the store cannot be read (which is logged).
  RunResult Of(const core::Run& run);

 private:
  RunResult FromStore(const core::Run& run, std::int64_t through_step, bool* complete);

  const samples::SampleLane* const lane_;
  store::SampleStore* const store_;
  std::mutex mutex_;
  // Of final runs: these never change.
  std::unordered_map<RunId, RunResult> final_;
};

}  // namespace entrain::rpc
