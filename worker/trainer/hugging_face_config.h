// config.json of a model folder: what `transformers` needs to load it, and our own model section.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "domain/model_config.h"

namespace entrain::trainer {

// True when Hugging Face's GPT-2 classes compute the same function: every layer has both norms, all biases, a plain two-linear FFN and
// no scale, temperature or reparametrisation.
bool IsGpt2(const domain::ModelConfig& model);

// model_type is "gpt2" only when IsGpt2; other architectures get a type of ours, so that nobody loads them into the wrong function.
// The object `entrain.model` is the model section in full.
std::string HuggingFaceConfigJson(const domain::ModelConfig& model);

// The architecture that a JSON text describes: the section `model`, or `entrain.model`, else a Hugging Face GPT-2 configuration
// (model_type "gpt2"), else the text itself is the model section. INVALID_ARGUMENT names `path` and the field that is wrong, or that our models have
// no form of.
absl::StatusOr<domain::ModelConfig> ParseArchitecture(std::string_view text, const std::string& path);

}  // namespace entrain::trainer
