#include "sweep/presets.h"

#include <algorithm>

#include "base/strings.h"

namespace entrain::sweep {
namespace {

using Settings = std::vector<std::pair<std::string, Value>>;

// Everything that tells the variants apart, so that a preset means the same whatever the file's `model` section says.
// Norm-free variants have the authors' biases and keep the final LayerNorm.
Preset Make(std::string name, std::string doc, const std::string& norm, const std::string& activation,
            const Settings& more = {}) {
  Settings settings = {
      {"model.norm", norm},
      {"model.final_norm", true},
      {"model.activation", activation},
      {"model.bias", std::string(norm == "none" ? "qk" : "all")},
      {"model.ffn", std::string("two")},
      {"model.ffn_scale", false},
      {"model.reparam", std::string("none")},
      {"model.reparam_targets", std::vector<std::string>()},
      {"model.temperature", std::string("none")},
      {"model.reg", std::string("none")},
  };
  for (const auto& [field, value] : more) {
    const auto known =
        std::find_if(settings.begin(), settings.end(), [&name = field](const auto& setting) { return setting.first == name; });
    if (known == settings.end()) {
      settings.emplace_back(field, value);
    } else {
      known->second = value;
    }
  }
  return {std::move(name), std::move(doc), std::move(settings)};
}

const Settings& Scaled() {
  static const Settings settings = {{"model.ffn_scale", true}, {"model.ffn_scale_learnable", true}};
  return settings;
}

Settings With(Settings settings, const Settings& more) {
  settings.insert(settings.end(), more.begin(), more.end());
  return settings;
}

void AddNormalised(std::vector<Preset>* presets) {
  const std::vector<std::pair<std::string, std::vector<std::string>>> sets = {{"QK", {"qk"}},
                                                                              {"FFN", {"ffn"}},
                                                                              {"QK+FFN", {"qk", "ffn"}},
                                                                              {"QKV+FFN", {"qkv", "ffn"}},
                                                                              {"QKVO+FFN", {"qkvo", "ffn"}}};
  for (const auto& [kind, reparam] : {std::pair("WN", "weight_norm"), std::pair("SN", "spectral_norm")}) {
    for (const auto& [name, targets] : sets) {
      presets->push_back(Make(StrCat("SM+", kind, "(", name, ")"),
                              StrCat("Softmax only, ", std::string_view(kind) == "WN" ? "weight" : "spectral",
                                     " normalisation of the linears ", name, "."),
                              "none", "identity",
                              {{"model.reparam", std::string(reparam)}, {"model.reparam_targets", targets}}));
    }
  }
}

std::vector<Preset> MakePresets() {
  const Settings fused = With(Scaled(), {{"model.ffn", std::string("fused")}});
  const Settings temperature = {{"model.temperature", std::string("divide")}, {"model.temperature_init", 1.0}};
  // At batch 128 x T 128 this lambda pulls as the paper's 1e-5 does in the summed form.
  const Settings regulariser = {{"model.reg", std::string("mean")},
                                {"model.reg_lambda", 0.16},
                                {"model.reg_gamma", 0.2},
                                {"model.theta_init", 0.5},
                                {"model.theta_learnable", true}};
  std::vector<Preset> presets = {
      Make("SM+LN+G", "Softmax, LayerNorm, GELU: the GPT-2 baseline.", "layernorm", "gelu"),
      Make("SM+LN+R", "Softmax, LayerNorm, ReLU.", "layernorm", "relu"),
      Make("SM+LN", "Softmax and LayerNorm, no activation.", "layernorm", "identity"),
      Make("SM+G", "Softmax and GELU, no LayerNorm in the blocks.", "none", "gelu"),
      Make("SM+R", "Softmax and ReLU, no LayerNorm in the blocks.", "none", "relu"),
      Make("SM", "Softmax only.", "none", "identity"),
      Make("SM+ScFFN", "Softmax only, scaled FFN (learnable alpha and beta).", "none", "identity", Scaled()),
      Make("SM+ScFuFFN", "Softmax only, scaled FFN fused into one linear.", "none", "identity", fused),
      Make("SM(t)+ScFuFFN", "SM+ScFuFFN with learnable temperatures.", "none", "identity", With(fused, temperature)),
      Make("EReg(SM)", "Softmax only with entropy regularisation (mean form, lambda 0.16).", "none", "identity",
           regulariser),
      Make("EReg(SM+ScFuFFN)", "SM+ScFuFFN with entropy regularisation (mean form, lambda 0.16).", "none", "identity",
           With(fused, regulariser)),
      Make("EReg(SM(t)+ScFuFFN)",
           "SM(t)+ScFuFFN with entropy regularisation (mean form, lambda 0.16): the paper's proposal.", "none",
           "identity", With(With(fused, temperature), regulariser)),
  };
  AddNormalised(&presets);
  return presets;
}

}  // namespace

const std::vector<Preset>& Presets() {
  static const auto presets = MakePresets();
  return presets;
}

const Preset* FindPreset(std::string_view name) {
  for (const Preset& preset : Presets()) {
    if (preset.name == name) return &preset;
  }
  return nullptr;
}

}  // namespace entrain::sweep
