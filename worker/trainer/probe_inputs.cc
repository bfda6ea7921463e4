#include "worker/trainer/probe_inputs.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "data/safetensors.h"
#include "model/weights.h"
#include "sweep/run_config_json.h"

namespace entrain::trainer {
namespace {

using nlohmann::json;

absl::Status Wrong(const std::string& path, std::string_view what) {
  return absl::InvalidArgumentError(StrCat(path, ": ", what));
}

// Hugging Face's GPT-2 configuration in our terms. INVALID_ARGUMENT names a field that our models have no form of.
absl::StatusOr<domain::ModelConfig> FromHuggingFace(const json& object, const std::string& path) {
  const auto integer = [&](const char* key, std::int64_t fallback) {
    const auto found = object.find(key);
    return found != object.end() && found->is_number_integer() ? found->get<std::int64_t>() : fallback;
  };
  domain::ModelConfig model;
  model.vocab_size = integer("vocab_size", 50257);
  model.n_positions = integer("n_positions", 1024);
  model.n_layer = integer("n_layer", 12);
  model.n_head = integer("n_head", 12);
  model.n_embd = integer("n_embd", 768);
  model.n_inner = integer("n_inner", 0);
  model.ln_eps = object.value("layer_norm_epsilon", 1e-5);
  model.init_std = object.value("initializer_range", 0.02);
  const std::string activation = object.value("activation_function", "gelu_new");
  if (activation == "gelu_new" || activation == "gelu_pytorch_tanh") {
    model.layer.activation = domain::Activation::kGeluNew;
  } else if (activation == "gelu") {
    model.layer.activation = domain::Activation::kGelu;
  } else if (activation == "relu") {
    model.layer.activation = domain::Activation::kRelu;
  } else if (activation == "linear") {
    model.layer.activation = domain::Activation::kIdentity;
  } else {
    return Wrong(path, StrCat("activation_function \"", activation, "\" is not one of gelu_new, gelu, relu, linear"));
  }
  if (!object.value("scale_attn_weights", true)) return Wrong(path, "scale_attn_weights must be true");
  if (object.value("scale_attn_by_inverse_layer_idx", false)) {
    return Wrong(path, "scale_attn_by_inverse_layer_idx must be false");
  }
  ENTRAIN_RETURN_IF_ERROR(domain::Validate(model));
  return model;
}

absl::StatusOr<domain::ModelConfig> ReadModel(const json& object, const std::string& path) {
  const json* section = object.contains("model") ? &object["model"] : nullptr;
  if (section == nullptr && object.contains("entrain") && object["entrain"].is_object() &&
      object["entrain"].contains("model")) {
    section = &object["entrain"]["model"];
  }
  if (section == nullptr && object.value("model_type", "") == "gpt2") return FromHuggingFace(object, path);
  const auto model = sweep::ParseModelJson((section == nullptr ? object : *section).dump());
  if (!model.ok()) return Wrong(path, std::string(model.status().message()));
  return model;
}

absl::Status ReadOptimiser(const json& object, const std::string& path, domain::TrainConfig* train) {
  train->schedule = domain::LrSchedule::kConstant;
  const auto section = object.find("optimiser");
  if (section == object.end()) return absl::OkStatus();
  train->lr = section->value("lr", train->lr);
  train->eps = section->value("eps", train->eps);
  train->weight_decay = section->value("weight_decay", train->weight_decay);
  train->clip = section->value("clip", train->clip);
  if (const auto betas = section->find("betas"); betas != section->end()) {
    train->beta1 = betas->at(0).get<double>();
    train->beta2 = betas->at(1).get<double>();
  }
  const std::string rule = section->value("decay_rule", "hf");
  if (rule != "hf" && rule != "linear") return Wrong(path, StrCat("optimiser.decay_rule \"", rule, "\" is not hf or linear"));
  train->decay_rule = rule == "hf" ? domain::DecayRule::kHf : domain::DecayRule::kLinear;
  return absl::OkStatus();
}

absl::Status CheckRange(const std::string& path, const char* name, const torch::Tensor& values_BT, std::int64_t vocab_size,
                        bool may_be_ignored) {
  const torch::Tensor ignored = values_BT.eq(-100).logical_and(torch::scalar_tensor(may_be_ignored));
  const torch::Tensor bad = values_BT.lt(0).logical_or(values_BT.ge(vocab_size)).logical_and(ignored.logical_not());
  if (!bad.any().item<bool>()) return absl::OkStatus();
  const std::int64_t value = values_BT.masked_select(bad)[0].item<std::int64_t>();
  return Wrong(path, StrCat(name, " holds ", value, ", the vocabulary has ", vocab_size, " tokens"));
}

// The next token is the label; nothing follows the last one.
torch::Tensor ShiftedLabels(const torch::Tensor& tokens_BT) {
  torch::Tensor labels_BT = at::full_like(tokens_BT, -100);
  const std::int64_t last = tokens_BT.size(1) - 1;
  labels_BT.narrow(1, 0, last).copy_(tokens_BT.narrow(1, 1, last));
  return labels_BT;
}

absl::StatusOr<ProbeTokens> ReadText(const std::string& path, const domain::ModelConfig& model) {
  if (model.vocab_size < 256 || model.vocab_size > 257) {
    return Wrong(path, StrCat("text is read as bytes, but the model's vocabulary has ", model.vocab_size,
                              " tokens; give tokens instead"));
  }
  ENTRAIN_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  if (text.size() < 2) return Wrong(path, "holds fewer than 2 bytes");
  const auto bytes = static_cast<std::int64_t>(text.size());
  const std::int64_t context = std::min(model.n_positions, bytes);
  const std::int64_t batch = bytes / context;
  torch::Tensor tokens_BT = at::empty({batch, context}, at::TensorOptions().dtype(torch::kInt64));
  auto* values = tokens_BT.mutable_data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < batch * context; ++i) values[i] = static_cast<unsigned char>(text[static_cast<std::size_t>(i)]);
  return ProbeTokens{tokens_BT, ShiftedLabels(tokens_BT)};
}

absl::StatusOr<torch::Tensor> ReadIntegers(const data::SafetensorsFile& file, const std::string& path, const char* name) {
  ENTRAIN_ASSIGN_OR_RETURN(const data::TensorView view, file.Get(name));
  const torch::Tensor values = model::ToTensor(view);
  if (!at::isIntegralType(values.scalar_type(), false)) return Wrong(path, StrCat(name, " must be integers"));
  if (values.dim() != 2 || values.numel() == 0) return Wrong(path, StrCat(name, " must have a shape [B,T]"));
  return values.to(torch::kInt64);
}

}  // namespace

absl::StatusOr<ProbeConfig> ReadProbeConfig(const std::string& path) {
  ENTRAIN_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  try {
    const json object = json::parse(text);
    if (!object.is_object()) return Wrong(path, "must be a JSON object");
    ProbeConfig config;
    ENTRAIN_ASSIGN_OR_RETURN(config.model, ReadModel(object, path));
    ENTRAIN_RETURN_IF_ERROR(ReadOptimiser(object, path, &config.train));
    return config;
  } catch (const json::exception& error) {
    return Wrong(path, error.what());
  }
}

absl::StatusOr<ProbeTokens> ReadProbeTokens(const ProbeOptions& options, const domain::ModelConfig& model) {
  if (!options.text.empty()) return ReadText(options.text, model);
  const std::string& path = options.tokens;
  ENTRAIN_ASSIGN_OR_RETURN(const data::SafetensorsFile file, data::SafetensorsFile::Open(path));
  ProbeTokens result;
  ENTRAIN_ASSIGN_OR_RETURN(result.tokens_BT, ReadIntegers(file, path, "tokens"));
  if (file.tensors().contains("labels")) {
    ENTRAIN_ASSIGN_OR_RETURN(result.labels_BT, ReadIntegers(file, path, "labels"));
    if (result.labels_BT.sizes() != result.tokens_BT.sizes()) return Wrong(path, "tokens and labels differ in shape");
  } else {
    result.labels_BT = ShiftedLabels(result.tokens_BT);
  }
  if (result.tokens_BT.size(1) > model.n_positions) {
    return Wrong(path, StrCat("sequences of ", result.tokens_BT.size(1), " tokens, but n_positions is ", model.n_positions));
  }
  ENTRAIN_RETURN_IF_ERROR(CheckRange(path, "tokens", result.tokens_BT, model.vocab_size, false));
  ENTRAIN_RETURN_IF_ERROR(CheckRange(path, "labels", result.labels_BT, model.vocab_size, true));
  return result;
}

}  // namespace entrain::trainer
