// Everything that decides a run's numbers: what a cell of a sweep resolves to, and the whole of what a trainer reads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "domain/health_rules.h"
#include "domain/model_config.h"

namespace entrain::domain {

// Token shards by content: `name` is for people, `hash` is what counts. Written `name@hash`.
struct DatasetRef {
  std::string name;
  std::string hash;
  std::string ToString() const { return name + "@" + hash; }
  friend bool operator==(const DatasetRef&, const DatasetRef&) = default;
};

enum class LrSchedule { kConstant, kLinear, kCosine };
// kHf: all but biases and layer norms decay (the authors' recipe); kLinear: only weight matrices and embeddings do.
enum class DecayRule { kHf, kLinear };
enum class Precision { kFp32, kBf16, kFp16 };

struct TrainConfig {
  // Optimiser steps of the whole run.
  std::int64_t steps = 1000;
  // Sequences of one micro-batch over all ranks of the gang; a multiple of the world size.
  std::int64_t batch_size = 8;
  // Micro-batches summed into one step.
  std::int64_t accumulation = 1;
  // Tokens of one sequence; at most model.n_positions.
  std::int64_t context = 128;
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.1;
  // Global L2 norm; 0 does not clip.
  double clip = 1.0;
  DecayRule decay_rule = DecayRule::kHf;
  LrSchedule schedule = LrSchedule::kLinear;
  std::int64_t warmup_steps = 0;
  // The rate at the last step, as a fraction of lr.
  double final_lr_fraction = 0.0;
  Precision precision = Precision::kFp32;
  std::uint64_t seed = 1337;
  // Held-out evaluation every so many steps and at the end; 0 means only at the end.
  std::int64_t eval_interval_steps = 100;
  std::int64_t eval_batches = 8;
  // 0 means only at the end (and when stopped).
  std::int64_t checkpoint_interval_steps = 100;
  // Folder of a Hugging Face GPT-2 checkpoint inside the artifact root to start from; empty: fresh initialisation.
  std::string init_from;

  friend bool operator==(const TrainConfig&, const TrainConfig&) = default;
};

// One gang: `machines` x `ranks_per_machine` ranks, each on one slot, all or nothing.
struct Resources {
  std::int64_t machines = 1;
  std::int64_t ranks_per_machine = 1;
  std::int64_t threads_per_rank = 1;
  std::int64_t WorldSize() const { return machines * ranks_per_machine; }
  friend bool operator==(const Resources&, const Resources&) = default;
};

struct RetryLimits {
  // Launches after failures that may be the run's own (crash, launch, storage, ...); lost machines do not count.
  std::int64_t max_failures = 2;
  // Whether running out of memory is tried again like a crash; by default it is not: the same run needs the same memory.
  bool out_of_memory = false;
  friend bool operator==(const RetryLimits&, const RetryLimits&) = default;
};

// 0: no limit.
struct RunLimits {
  // Time that its gangs were up, over all attempts; then it is stopped at a checkpoint and has failed.
  std::int64_t max_duration_s = 0;
  // An attempt that sends no sample for so long is ended, and tried again by the rule of its class.
  std::int64_t stall_limit_s = 0;
  friend bool operator==(const RunLimits&, const RunLimits&) = default;
};

// The canonical, resolved configuration of one run. `version` names the set of defaults that the canonical form leaves out.
struct RunConfig {
  int version = 1;
  DatasetRef dataset;
  ModelConfig model;
  TrainConfig train;
  Resources resources;
  friend bool operator==(const RunConfig&, const RunConfig&) = default;
};

// The first thing wrong across the sections (context against n_positions, batch against world size, ...), naming the field.
absl::Status Validate(const RunConfig& config);

}  // namespace entrain::domain
