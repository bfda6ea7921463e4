#include "worker/trainer/hugging_face_config.h"

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

}  // namespace entrain::trainer
