// What a run reports while it trains.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"

namespace entrain::domain {

// One optimiser step of one attempt, reduced over the ranks of its gang. Identified by (run, attempt, step); `step` counts from 1
// (the state after that many optimiser steps). Numbers may be NaN or infinite: that is what a health rule looks for.
struct EntropySample {
  std::int64_t step = 0;
  double loss = 0.0;  // cross-entropy, nats a token, over the step's whole batch
  double reg = 0.0;   // the regulariser's value, not multiplied by lambda
  double grad_norm = 0.0;  // global L2 norm before clipping
  double lr = 0.0;
  std::int64_t tokens = 0;  // tokens trained since the run's first step
  double tokens_per_second = 0.0;
  std::int64_t wall_ms = 0;  // label only
  // Mean entropy of every head over the batch and all queries, nats, [n_layer * n_head], layer-major.
  std::vector<float> entropy_nats;
  // Largest |score| of every layer, [n_layer].
  std::vector<float> max_abs_score;
  // Threshold theta of every head when a regulariser is on, else empty.
  std::vector<float> theta;
  friend bool operator==(const EntropySample&, const EntropySample&) = default;
};

// A held-out evaluation after `step` steps.
struct Evaluation {
  std::int64_t step = 0;
  double loss = 0.0;  // nats a token; perplexity is exp(loss)
  std::int64_t tokens = 0;
  std::int64_t wall_ms = 0;
  friend bool operator==(const Evaluation&, const Evaluation&) = default;
};

// A published checkpoint: a folder relative to the artifact root.
struct Checkpoint {
  AttemptNumber attempt = 0;
  std::int64_t step = 0;
  std::string path;
  std::int64_t bytes = 0;
  std::string hash;  // of the folder's manifest
  std::int64_t best_step = 0;  // where the held-out loss had been lowest when this one was written; 0: nothing was evaluated
  friend bool operator==(const Checkpoint&, const Checkpoint&) = default;
};

}  // namespace entrain::domain
