// Weights of a Gpt as safetensors: Hugging Face GPT-2 names, nothing transposed.
#pragma once

#include <torch/torch.h>

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/safetensors.h"
#include "model/gpt.h"

namespace entrain::model {

// A view of a contiguous CPU tensor; lives as long as the tensor's storage.
data::TensorView ViewOf(const torch::Tensor& tensor);
// A copy in the type that the file has.
torch::Tensor ToTensor(const data::TensorView& view);

// Copies the tensor `name` of the file into `target`, converting its type. NOT_FOUND, or INVALID_ARGUMENT with both shapes.
absl::Status CopyFrom(const data::SafetensorsFile& file, const std::string& name, torch::Tensor target);

// Copies every parameter and state tensor from the file. Names may lack the prefix "transformer."; state that the file does not hold
// keeps its value. INVALID_ARGUMENT names a tensor that is missing, has the wrong shape or has no place in this architecture; the attention
// masks and the output matrix, if it is tied, that Hugging Face files may carry are passed over.
absl::Status LoadWeights(const data::SafetensorsFile& file, Gpt* model);

// INVALID_ARGUMENT when the file holds an output matrix (lm_head.weight) that is not the token table: our models tie them.
absl::Status CheckTiedOutput(const data::SafetensorsFile& file);

// Views of all parameters and state, for writing. The model must outlive them.
std::map<std::string, data::TensorView> WeightViews(const Gpt& model);

}  // namespace entrain::model
