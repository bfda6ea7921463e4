// Tensors of a run in and out of checkpoints.
#pragma once

#include <torch/torch.h>

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "data/safetensors.h"
#include "model/gpt.h"
#include "worker/trainer/checkpoint.h"
#include "worker/trainer/optimizer.h"

namespace entrain::trainer {

// A copy in host memory of everything that changes while training, so that a checkpoint can be written while the next
// steps run. Reusable: the second capture copies into the first one's memory.
class Snapshot {
 public:
  void Capture(const model::Gpt& model, const AdamW& optimizer);
  // Views into the copy.
  std::map<std::string, data::TensorView> ModelTensors() const { return Views(model_); }
  std::map<std::string, data::TensorView> OptimizerTensors() const { return Views(optimizer_); }

 private:
  static void Copy(const AdamW::NamedTensors& from, std::map<std::string, torch::Tensor>* to);
  static std::map<std::string, data::TensorView> Views(const std::map<std::string, torch::Tensor>& tensors);

  std::map<std::string, torch::Tensor> model_;
  std::map<std::string, torch::Tensor> optimizer_;
};

// Puts a checkpoint's tensors back. INVALID_ARGUMENT names the first tensor that is missing or has another shape. With `changed_settings` what the
// other model did not have (thresholds of a regulariser) keeps its initialisation, and moments of zero.
absl::Status Restore(const OpenedCheckpoint& checkpoint, bool changed_settings, model::Gpt* model, AdamW* optimizer);

// Starts from a Hugging Face GPT-2 folder (config.json; model.safetensors in float32, float16 or bfloat16), or one of ours. What GPT-2 does
// not have keeps its own initialisation; a longer position table is cut to n_positions; norms and activations may differ. INVALID_ARGUMENT
// when layers, heads or width differ or the output matrix is not tied.
absl::Status InitialiseFrom(const std::string& dir, model::Gpt* model);

}  // namespace entrain::trainer
