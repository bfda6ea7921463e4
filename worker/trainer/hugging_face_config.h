// config.json of a checkpoint: what `transformers` needs to load it, and our own model section.
#pragma once

#include <string>

#include "domain/model_config.h"

namespace entrain::trainer {

// True when Hugging Face's GPT-2 classes compute the same function: every layer has both norms, all biases, a plain two-linear FFN and
// no scale, temperature or reparametrisation.
bool IsGpt2(const domain::ModelConfig& model);

// model_type is "gpt2" only when IsGpt2; other architectures get a type of ours, so that nobody loads them into the wrong function.
// The object `entrain.model` is the model section in full.
std::string HuggingFaceConfigJson(const domain::ModelConfig& model);

}  // namespace entrain::trainer
