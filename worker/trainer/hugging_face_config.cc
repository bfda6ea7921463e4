#include "worker/trainer/hugging_face_config.h"

#include "base/status_macros.h"
#include "base/strings.h"
#include "nlohmann/json.hpp"
#include "sweep/run_config_json.h"

namespace entrain::trainer {
namespace {

using nlohmann::json;

bool IsGpt2Layer(const domain::LayerConfig& layer) {
  return layer.norm == domain::Norm::kLayerNorm && layer.bias == domain::Bias::kAll && layer.ffn == domain::Ffn::kTwo &&
         !layer.ffn_scale && layer.reparam == domain::Reparam::kNone &&
         layer.temperature == domain::Temperature::kNone && layer.activation != domain::Activation::kLeakyRelu;
}

const char* ActivationName(domain::Activation activation) {
  switch (activation) {
    case domain::Activation::kGelu: return "gelu";
    case domain::Activation::kGeluNew: return "gelu_new";
    case domain::Activation::kRelu: return "relu";
    case domain::Activation::kLeakyRelu: return "leaky_relu";
    case domain::Activation::kIdentity: return "linear";
  }
  return "";
}

absl::Status WrongConfig(const std::string& path, std::string_view what) {
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
    return WrongConfig(path, StrCat("activation_function \"", activation, "\" is not one of gelu_new, gelu, relu, linear"));
  }
  if (!object.value("tie_word_embeddings", true)) return WrongConfig(path, "tie_word_embeddings must be true");
  if (object.value("add_cross_attention", false)) return WrongConfig(path, "add_cross_attention must be false");
  if (!object.value("scale_attn_weights", true)) return WrongConfig(path, "scale_attn_weights must be true");
  if (object.value("scale_attn_by_inverse_layer_idx", false)) {
    return WrongConfig(path, "scale_attn_by_inverse_layer_idx must be false");
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
  if (section == nullptr && object.value("model_type", std::string()) == "gpt2") return FromHuggingFace(object, path);
  const auto model = sweep::ParseModelJson((section == nullptr ? object : *section).dump());
  if (!model.ok()) return WrongConfig(path, std::string(model.status().message()));
  return model;
}

}  // namespace

bool IsGpt2(const domain::ModelConfig& model) {
  if (!model.final_norm) return false;
  for (std::int64_t index = 0; index < model.n_layer; ++index) {
    const domain::LayerConfig& layer = model.Layer(index);
    if (!IsGpt2Layer(layer) || layer.activation != model.Layer(0).activation) return false;
  }
  return true;
}

std::string HuggingFaceConfigJson(const domain::ModelConfig& model) {
  const bool gpt2 = IsGpt2(model);
  json config{{"model_type", gpt2 ? "gpt2" : "entrain_gpt"},
              {"vocab_size", model.vocab_size},
              {"n_positions", model.n_positions},
              {"n_ctx", model.n_positions},
              {"n_embd", model.n_embd},
              {"n_layer", model.n_layer},
              {"n_head", model.n_head},
              {"n_inner", model.InnerWidth()},
              {"activation_function", ActivationName(model.Layer(0).activation)},
              {"layer_norm_epsilon", model.ln_eps},
              {"initializer_range", model.init_std},
              {"resid_pdrop", 0.0},
              {"embd_pdrop", 0.0},
              {"attn_pdrop", 0.0},
              {"scale_attn_weights", true},
              {"tie_word_embeddings", true},
              {"bos_token_id", nullptr},
              {"eos_token_id", nullptr},
              {"torch_dtype", "float32"}};
  if (gpt2) config["architectures"] = json::array({"GPT2LMHeadModel"});
  config["entrain"] = json{{"model", json::parse(sweep::ModelToJson(model))}};
  return config.dump(2) + "\n";
}

absl::StatusOr<domain::ModelConfig> ParseArchitecture(std::string_view text, const std::string& path) {
  try {
    const json object = json::parse(text);
    if (!object.is_object()) return WrongConfig(path, "must be a JSON object");
    return ReadModel(object, path);
  } catch (const json::exception& error) {
    return WrongConfig(path, error.what());
  }
}

}  // namespace entrain::trainer
