// One rank's training of one attempt, from its first step (or a checkpoint) to its end. No torch in this header.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "data/token_dataset.h"
#include "domain/run_config.h"
#include "domain/run_state.h"
#include "domain/sample.h"
#include "worker/attempt/attempt_folder.h"
#include "worker/collective/collective.h"
#include "worker/trainer/step_watch.h"

namespace entrain::trainer {

// Ordered: the strongest wish of any rank counts.
enum class StopWish { kNone = 0, kCheckpoint = 1, kNow = 2 };

// How far the rank is; kept up to date for whoever has to explain an end by exception.
struct TrainingProgress {
  std::int64_t step = 0;
  double loss = 0.0;
  std::int64_t tokens = 0;
};

struct TrainingContext {
  attempt::AttemptFolder folder;
  attempt::AttemptSpec spec;
  domain::RunConfig config;
  std::string config_hash;
  const data::TokenDataset* dataset = nullptr;
  collective::Collective* collective = nullptr;
  const Clock* clock = nullptr;
  StepWatch* watch = nullptr;
  // Asked once a step.
  std::function<StopWish()> stop_wish;
  // Rank 0 only; may be empty.
  std::function<void(const domain::EntropySample&)> on_sample;
  std::function<void(const domain::Evaluation&)> on_evaluation;
  std::int64_t keep_checkpoints = 0;
};

struct TrainingEnd {
  domain::EndCause cause = domain::EndCause::kCompleted;
  std::string message;
};

// Every rank of the gang calls this and gets the same cause. Throws what torch throws. Errors: INVALID_ARGUMENT, NOT_FOUND and
// FAILED_PRECONDITION are the user's (configuration, data, checkpoint that does not fit), RESOURCE_EXHAUSTED and DATA_LOSS the
// storage's.
absl::StatusOr<TrainingEnd> Train(const TrainingContext& context, TrainingProgress* progress);

}  // namespace entrain::trainer
