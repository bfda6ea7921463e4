// A linear layer in Hugging Face's Conv1D layout, y = x W + b with W [in,out], whose columns may be reparametrised in blocks.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "domain/model_config.h"

namespace entrain::model {

using NamedTensors = std::vector<std::pair<std::string, torch::Tensor>>;

// `width` neighbouring columns that are normalised together or not at all: one of q, k, v of c_attn, or a whole linear.
struct ColumnBlock {
  std::int64_t width = 0;
  bool normalised = false;
};

struct LinearSpec {
  std::string name;  // "transformer.h.0.attn.c_attn"
  std::int64_t in = 0;
  std::vector<ColumnBlock> blocks;
  bool bias = false;
  // Columns from here on have a bias that is frozen at zero (the value third of c_attn); -1: none.
  std::int64_t frozen_bias_from = -1;
  domain::Reparam reparam = domain::Reparam::kNone;
};

struct LinearMode {
  bool training = true;  // spectral norm iterates
  torch::Dtype arithmetic = torch::kFloat32;
};

class Linear {
 public:
  Linear() = default;
  // Weights N(0, std), biases 0, gains such that the effective weight is the raw one, spectral vectors after 15 power iterations.
  Linear(LinearSpec spec, double std, std::uint64_t seed, torch::Dtype dtype);

  // x W + b for x [rows,in], multiplied and returned in mode.arithmetic.
  torch::Tensor Apply(const torch::Tensor& x, const LinearMode& mode);
  // residual + x W + b, in the residual's type.
  torch::Tensor ApplyOnto(const torch::Tensor& residual, const torch::Tensor& x, const LinearMode& mode);

  // For a pass without autograd. The weight as it multiplies, in mode.arithmetic; a reparametrised one keeps its graph until WeightGradient().
  torch::Tensor WeightWithoutGraph(const LinearMode& mode);
  // The bias as it is added, or undefined.
  torch::Tensor BiasWithoutGraph() const;
  // From the input x [rows,in] and the gradient d_y [rows,out] of the output: into the gradients of the weight and its gains, or added to
  // them.
  void WeightGradient(const torch::Tensor& x, const torch::Tensor& d_y, bool accumulate);
  // Where the bias's gradient goes: column sums of d_y, after which BiasGradientIsComplete(). Undefined without a bias.
  torch::Tensor BiasGradient() const;
  void BiasGradientIsComplete() const;
  const std::string weight_name() const { return spec_.name + ".weight"; }
  void UseComputeCopy(torch::Tensor copy) { compute_copy_ = std::move(copy); }

  // Gains and spectral vectors anew from the weights as they are now.
  void Reparametrise();

  void AppendParameters(NamedTensors* parameters) const;
  void AppendState(NamedTensors* state) const;
  // Moves what is neither a parameter nor state; those are moved by whoever holds their names.
  void MoveConstants(torch::Device device);

 private:
  torch::Tensor Bias() const;
  torch::Tensor EffectiveWeight(bool training);
  torch::Tensor WeightNormed() const;
  torch::Tensor SpectralNormed(bool training);
  // One power iteration on block `index` of the normalised ones; updates its vectors.
  void Iterate(const torch::Tensor& weight, std::int64_t index);

  LinearSpec spec_;
  torch::Tensor weight_;
  torch::Tensor compute_copy_;    // of weight_, in the type of matrix products; may be undefined
  torch::Tensor graphed_weight_;  // a reparametrised weight between the passes of a step without autograd
  torch::Tensor bias_;
  torch::Tensor bias_mask_;
  torch::Tensor gains_;  // of the normalised columns, in column order
  torch::Tensor u_;      // [normalised blocks,out of a block]
  torch::Tensor v_;      // [normalised blocks,in]
};

// out = a b, or out += a b, where out may be of a wider type than the factors.
void ProductInto(const torch::Tensor& out, const torch::Tensor& a, const torch::Tensor& b, bool accumulate);
// Puts values into the gradient of a parameter, or adds them, and runs its post-accumulation hook.
void PutGradient(const torch::Tensor& parameter, const torch::Tensor& values, bool accumulate);
void RunGradientHook(const torch::Tensor& parameter);

}  // namespace entrain::model
