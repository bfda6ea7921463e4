// Checkpoint folders: what a run needs to go on bit for bit, in files that other programs read.
//
//   step-00000100/
//     model.safetensors      parameters under their Hugging Face names, and state that is not trained; float32
//     optimizer.safetensors  the optimiser's moments
//     config.json            hugging_face_config.h
//     state.json             CheckpointState
//     manifest.json          data/folder_manifest.h
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "data/safetensors.h"
#include "domain/model_config.h"
#include "worker/attempt/attempt_folder.h"

namespace entrain::trainer {

// Where the run is, and the conditions under which going on gives the same bits.
struct CheckpointState {
  std::int64_t step = 0;
  std::int64_t tokens = 0;
  double loss = 0.0;  // of that step
  double best_eval_loss = 0.0;
  std::int64_t best_eval_step = 0;  // 0: none yet
  std::int64_t last_eval_step = 0;
  double loss_scale = 1.0;
  std::int64_t loss_scale_steps = 0;  // since it changed
  std::uint64_t seed = 0;
  std::int64_t world_size = 1;
  std::int64_t threads_per_rank = 1;
  std::string instruction_set;  // on a GPU: its model
  std::string config_hash;  // of the run configuration's bytes
  std::string build_id;     // for people
};

struct CheckpointContent {
  CheckpointState state;
  domain::ModelConfig model;
  // The views' bytes must live until the write returns.
  std::map<std::string, data::TensorView> model_tensors;
  std::map<std::string, data::TensorView> optimizer_tensors;
};

// Writes `<attempt>/checkpoints/step-...`: into a neighbour folder, fsynced, then renamed. RESOURCE_EXHAUSTED when the disk is or would be
// full. A failure leaves nothing behind.
absl::StatusOr<attempt::CheckpointWritten> WriteCheckpoint(const attempt::AttemptFolder& folder,
                                                           const CheckpointContent& content);

// An opened checkpoint, every file verified against the manifest.
struct OpenedCheckpoint {
  CheckpointState state;
  data::SafetensorsFile model;
  data::SafetensorsFile optimizer;
};
absl::StatusOr<OpenedCheckpoint> OpenCheckpoint(const std::string& dir);

// FAILED_PRECONDITION names the first condition under which resuming would not give the same bits.
absl::Status CheckExactResume(const CheckpointState& saved, const CheckpointState& now);

// Removes what an interrupted write left, and all checkpoints but the newest `keep` and that of `best_step` (keep 0 keeps all).
absl::Status PruneCheckpoints(const attempt::AttemptFolder& folder, std::int64_t keep, std::int64_t best_step);

}  // namespace entrain::trainer
