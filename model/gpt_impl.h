// Inside the Gpt module: its layers, shared by the pass that autograd differentiates (gpt.cc) and the one written out (explicit_step.cc).
#pragma once

#include <torch/torch.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/explicit_step.h"
#include "model/gpt.h"
#include "model/linear.h"

namespace entrain::model {

struct LayerNorm {
  torch::Tensor gain, shift;
};

struct Layer {
  domain::LayerConfig config;
  LayerNorm norm_1, norm_2;
  Linear attention_in, attention_out;
  Linear ffn_in, ffn_out;  // the fused form has ffn_in only
  torch::Tensor temperature_HP;
  torch::Tensor theta_H;
  torch::Tensor alpha, beta;
  torch::Tensor slope;  // of a learnable leaky ReLU

  std::array<Linear*, 4> Linears() { return {&attention_in, &attention_out, &ffn_in, &ffn_out}; }
};

// What one layer's attention leaves behind for the loss and the result.
struct EntropyTrace {
  std::vector<torch::Tensor> entropy_BHT;
  std::vector<torch::Tensor> entropy_eps_BHT;
  std::vector<torch::Tensor> max_abs_score_BH;
};

// The entropies of all layers, as the regulariser and the result want them.
struct EntropyMeasures {
  torch::Tensor entropy_LBHT;
  torch::Tensor entropy_eps_LBHT;  // undefined unless asked for
  torch::Tensor max_abs_score_LBH;
};

struct Gpt::Impl {
  Impl(const domain::ModelConfig& model_config, std::uint64_t model_seed, torch::Dtype model_dtype);

  Layer MakeLayer(std::int64_t index) const;
  Linear MakeLinear(const domain::LayerConfig& layer, const std::string& name, std::int64_t in, std::vector<ColumnBlock> blocks,
                    bool bias, std::int64_t frozen_bias_from = -1) const;
  LayerNorm MakeNorm() const;
  void NameLayer(std::int64_t index);
  // A scalar or vector that the config may fix: a parameter if it is trainable, else state.
  void NameTrainable(const std::string& name, const torch::Tensor& tensor);
  void NameNorm(const std::string& name, const LayerNorm& norm);
  void MoveTo(torch::Device device);

  torch::Tensor Normed(const torch::Tensor& x, const LayerNorm& norm) const;
  torch::Tensor Activated(const torch::Tensor& x, const Layer& layer) const;
  torch::Tensor Attend(Layer& layer, const torch::Tensor& x, std::int64_t batch, const ForwardOptions& options, EntropyTrace* trace);
  torch::Tensor FeedForward(Layer& layer, const torch::Tensor& x, const ForwardOptions& options);
  LinearMode ModeOf(const ForwardOptions& options) const { return {options.training, options.arithmetic.value_or(dtype)}; }
  torch::Tensor QueryScale(const Layer& layer, std::int64_t context) const;
  torch::Tensor Thresholds() const;
  void Measure(const EntropyMeasures& measures, std::int64_t context, const ForwardOptions& options, ForwardOutput* output) const;

  bool EntropyNeedsGradient() const {
    return config.reg == domain::Regulariser::kMean || config.reg == domain::Regulariser::kMeanSeq;
  }

  domain::ModelConfig config;
  std::uint64_t seed;
  torch::Dtype dtype;
  torch::Tensor token_table_VC, position_table_PC;
  std::vector<Layer> layers;
  LayerNorm final_norm;
  torch::Tensor global_slope;
  torch::Tensor token_table_copy_VC;  // in the type of matrix products, or undefined
  NamedTensors parameters;
  NamedTensors state;
  ExplicitStep explicit_step;
  ExplicitStep evaluation_step;  // with buffers of its own: a captured training step relies on the addresses of the other's
  std::optional<BackwardOptions> backward;  // of the last Forward()
  bool explicit_is_pending = false;
};

}  // namespace entrain::model
