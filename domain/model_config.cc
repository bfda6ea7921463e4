#include "domain/model_config.h"

#include <cmath>

#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::domain {
namespace {

absl::Status RequireSize(std::int64_t value, std::string_view field) {
  if (value > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(StrCat("model.", field, " must be positive, is ", value));
}

absl::Status ValidateLayer(const LayerConfig& layer, const std::string& place) {
  if (layer.ffn == Ffn::kFused && layer.reparam != Reparam::kNone &&
      layer.reparam_targets.contains(LinearName::kFfnOut)) {
    return absl::InvalidArgumentError(
        StrCat(place, "reparam_targets names ffn_out, but ffn is fused and has one linear, ffn_in"));
  }
  if (layer.reparam != Reparam::kNone && layer.reparam_targets.empty()) {
    return absl::InvalidArgumentError(StrCat(place, "reparam is set but reparam_targets is empty"));
  }
  if (layer.ffn_scale && layer.alpha_init == 0.0) {
    return absl::InvalidArgumentError(StrCat(place, "alpha_init must not be 0: the FFN is divided by it"));
  }
  if (layer.temperature == Temperature::kDivide && layer.temperature_init == 0.0) {
    return absl::InvalidArgumentError(StrCat(place, "temperature_init must not be 0 when temperature divides"));
  }
  return absl::OkStatus();
}

std::int64_t LinearParameters(std::int64_t in, std::int64_t out, bool bias) { return in * out + (bias ? out : 0); }

bool HasTarget(const LayerConfig& layer, LinearName name) {
  return layer.reparam == Reparam::kWeightNorm && layer.reparam_targets.contains(name);
}

// A fused FFN has no activation, so no slope either.
bool HasLearnableSlope(const LayerConfig& layer, LeakyMode mode) {
  return layer.ffn == Ffn::kTwo && layer.activation == Activation::kLeakyRelu && layer.leaky_mode == mode;
}

std::int64_t WeightGains(const ModelConfig& config, const LayerConfig& layer) {
  std::int64_t gains = 0;
  for (LinearName name : {LinearName::kQ, LinearName::kK, LinearName::kV, LinearName::kO}) {
    if (HasTarget(layer, name)) gains += config.n_embd;
  }
  if (HasTarget(layer, LinearName::kFfnIn)) gains += layer.ffn == Ffn::kFused ? config.n_embd : config.InnerWidth();
  if (HasTarget(layer, LinearName::kFfnOut)) gains += config.n_embd;
  return gains;
}

std::int64_t LayerParameters(const ModelConfig& config, const LayerConfig& layer) {
  const std::int64_t d = config.n_embd;
  const std::int64_t inner = config.InnerWidth();
  const bool all = layer.bias == Bias::kAll;
  std::int64_t count = LinearParameters(d, 3 * d, layer.bias != Bias::kNone) + LinearParameters(d, d, all);
  if (layer.ffn == Ffn::kTwo) {
    count += LinearParameters(d, inner, all) + LinearParameters(inner, d, all);
  } else {
    count += LinearParameters(d, d, all);
  }
  if (layer.norm == Norm::kLayerNorm) count += 4 * d;
  if (layer.ffn_scale && layer.ffn_scale_learnable) count += 2;
  if (HasLearnableSlope(layer, LeakyMode::kLayer)) count += 1;
  if (layer.temperature != Temperature::kNone) count += config.n_head * config.n_positions;
  if (config.reg != Regulariser::kNone && config.theta_learnable) count += config.n_head;
  return count + WeightGains(config, layer);
}

}  // namespace

const LayerConfig& ModelConfig::Layer(std::int64_t index) const {
  const auto found = layers.find(index);
  return found == layers.end() ? layer : found->second;
}

absl::Status Validate(const ModelConfig& config) {
  ENTRAIN_RETURN_IF_ERROR(RequireSize(config.vocab_size, "vocab_size"));
  ENTRAIN_RETURN_IF_ERROR(RequireSize(config.n_positions, "n_positions"));
  ENTRAIN_RETURN_IF_ERROR(RequireSize(config.n_layer, "n_layer"));
  ENTRAIN_RETURN_IF_ERROR(RequireSize(config.n_head, "n_head"));
  ENTRAIN_RETURN_IF_ERROR(RequireSize(config.n_embd, "n_embd"));
  if (config.n_inner < 0) {
    return absl::InvalidArgumentError(StrCat("model.n_inner must not be negative, is ", config.n_inner));
  }
  if (config.n_embd % config.n_head != 0) {
    return absl::InvalidArgumentError(StrCat("model.n_head must divide model.n_embd, but n_embd=", config.n_embd,
                                                   " and n_head=", config.n_head));
  }
  ENTRAIN_RETURN_IF_ERROR(ValidateLayer(config.layer, "model."));
  for (const auto& [index, layer] : config.layers) {
    if (index < 0 || index >= config.n_layer) {
      return absl::InvalidArgumentError(
          StrCat("model.layers names layer ", index, ", but there are layers 0..", config.n_layer - 1));
    }
    ENTRAIN_RETURN_IF_ERROR(ValidateLayer(layer, StrCat("model.layers.", index, ".")));
  }
  return absl::OkStatus();
}

std::int64_t ParameterCount(const ModelConfig& config) {
  std::int64_t count = (config.vocab_size + config.n_positions) * config.n_embd;
  if (config.final_norm) count += 2 * config.n_embd;
  bool global_slope = false;
  for (std::int64_t index = 0; index < config.n_layer; ++index) {
    const LayerConfig& layer = config.Layer(index);
    count += LayerParameters(config, layer);
    global_slope |= HasLearnableSlope(layer, LeakyMode::kGlobal);
  }
  return count + (global_slope ? 1 : 0);
}

double EntropyBoundNats(std::int64_t context) {
  if (context <= 1) return 0.0;
  return std::lgamma(static_cast<double>(context) + 1.0) / static_cast<double>(context);
}

}  // namespace entrain::domain
