#include "model/linear.h"

#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <utility>

#include "model/initialisation.h"

namespace entrain::model {
namespace {

using torch::Tensor;

constexpr double kSmallestNorm = 1e-12;
constexpr int kInitialPowerIterations = 15;

Tensor Normalised(const Tensor& x) { return x / x.norm().clamp_min(kSmallestNorm); }

Tensor Joined(const std::vector<Tensor>& parts) { return parts.size() == 1 ? parts[0] : at::cat(parts, 1); }

}  // namespace

Linear::Linear(LinearSpec spec, double std, std::uint64_t seed, torch::Dtype dtype) : spec_(std::move(spec)) {
  std::int64_t out = 0, normalised_blocks = 0, block_width = 0;
  std::vector<Tensor> norms;
  for (const ColumnBlock& block : spec_.blocks) out += block.width;
  weight_ = SeededNormal({spec_.in, out}, std, seed, spec_.name + ".weight", dtype);
  std::int64_t begin = 0;
  for (const ColumnBlock& block : spec_.blocks) {
    if (block.normalised) {
      norms.push_back(at::linalg_vector_norm(weight_.narrow(1, begin, block.width), 2, {0}));
      block_width = block.width;
      ++normalised_blocks;
    }
    begin += block.width;
  }
  if (spec_.bias) {
    bias_ = at::zeros({out}, weight_.options()).set_requires_grad(true);
    if (spec_.frozen_bias_from >= 0) {
      bias_mask_ = at::ones({out}, weight_.options());
      bias_mask_.narrow(0, spec_.frozen_bias_from, out - spec_.frozen_bias_from).zero_();
    }
  }
  if (normalised_blocks > 0 && spec_.reparam == domain::Reparam::kWeightNorm) {
    gains_ = at::cat(norms).set_requires_grad(true);
  }
  if (normalised_blocks > 0 && spec_.reparam == domain::Reparam::kSpectralNorm) {
    u_ = SeededNormal({normalised_blocks, block_width}, 1.0, seed, spec_.name + ".weight_u", dtype);
    v_ = SeededNormal({normalised_blocks, spec_.in}, 1.0, seed, spec_.name + ".weight_v", dtype);
    u_.div_(u_.norm(2, {1}, true));
    v_.div_(v_.norm(2, {1}, true));
    for (int i = 0; i < kInitialPowerIterations; ++i) SpectralNormed(true);
  }
  weight_.set_requires_grad(true);
}

void Linear::Reparametrise() {
  const torch::NoGradGuard no_grad;
  std::int64_t begin = 0, gain = 0;
  for (const ColumnBlock& block : spec_.blocks) {
    if (block.normalised && gains_.defined()) {
      gains_.narrow(0, gain, block.width).copy_(at::linalg_vector_norm(weight_.narrow(1, begin, block.width), 2, {0}));
      gain += block.width;
    }
    begin += block.width;
  }
  if (!u_.defined()) return;
  for (int i = 0; i < kInitialPowerIterations; ++i) SpectralNormed(true);
}

void Linear::AppendParameters(NamedTensors* parameters) const {
  parameters->emplace_back(spec_.name + ".weight", weight_);
  if (bias_.defined()) parameters->emplace_back(spec_.name + ".bias", bias_);
  if (gains_.defined()) parameters->emplace_back(spec_.name + ".weight_g", gains_);
}

void Linear::AppendState(NamedTensors* state) const {
  if (!u_.defined()) return;
  state->emplace_back(spec_.name + ".weight_u", u_);
  state->emplace_back(spec_.name + ".weight_v", v_);
}

void Linear::MoveConstants(torch::Device device) {
  if (bias_mask_.defined()) bias_mask_ = bias_mask_.to(device);
}

Tensor Linear::Bias() const { return bias_mask_.defined() ? bias_ * bias_mask_ : bias_; }

Tensor Linear::Apply(const Tensor& x, const LinearMode& mode) {
  const Tensor weight = EffectiveWeight(mode.training).to(mode.arithmetic), input = x.to(mode.arithmetic);
  return bias_.defined() ? at::addmm(Bias().to(mode.arithmetic), input, weight) : at::mm(input, weight);
}

Tensor Linear::ApplyOnto(const Tensor& residual, const Tensor& x, const LinearMode& mode) {
  if (mode.arithmetic != residual.scalar_type()) return residual + Apply(x, mode);
  Tensor sum = at::addmm(residual, x, EffectiveWeight(mode.training));
  if (bias_.defined()) sum.add_(Bias());
  return sum;
}

Tensor Linear::WeightWithoutGraph(const LinearMode& mode) {
  if (!gains_.defined() && !u_.defined()) {
    const bool copied = compute_copy_.defined() && compute_copy_.scalar_type() == mode.arithmetic;
    return copied ? compute_copy_ : weight_.detach().to(mode.arithmetic);
  }
  const torch::AutoGradMode with_graph(true);
  graphed_weight_ = EffectiveWeight(mode.training);
  return graphed_weight_.detach().to(mode.arithmetic);
}

Tensor Linear::BiasWithoutGraph() const {
  const torch::NoGradGuard no_grad;
  return bias_.defined() ? Bias().detach() : Tensor();
}

void Linear::WeightGradient(const Tensor& x, const Tensor& d_y, bool accumulate) {
  if (!graphed_weight_.defined()) {
    ProductInto(weight_.grad(), x.t(), d_y, accumulate);
    return RunGradientHook(weight_);
  }
  const Tensor d_weight = at::mm(x.t(), d_y).to(weight_.scalar_type());
  std::vector<Tensor> leaves = {weight_};
  if (gains_.defined()) leaves.push_back(gains_);
  const auto gradients = torch::autograd::grad({std::exchange(graphed_weight_, Tensor())}, leaves, {d_weight});
  for (std::size_t i = 0; i < leaves.size(); ++i) PutGradient(leaves[i], gradients[i], accumulate);
}

Tensor Linear::BiasGradient() const { return bias_.defined() ? bias_.grad() : Tensor(); }

void Linear::BiasGradientIsComplete() const {
  if (!bias_.defined()) return;
  if (bias_mask_.defined()) bias_.grad().mul_(bias_mask_);
  RunGradientHook(bias_);
}

void ProductInto(const Tensor& out, const Tensor& a, const Tensor& b, bool accumulate) {
  Tensor target = out;
  if (a.scalar_type() == target.scalar_type()) {
    accumulate ? target.addmm_(a, b) : at::mm_out(target, a, b);
  } else if (target.is_cuda() && target.scalar_type() == torch::kFloat32) {
    accumulate ? at::addmm_out(target, target, a, b, target.scalar_type()) : at::mm_out(target, a, b, target.scalar_type());
  } else {
    const Tensor product = at::mm(a, b);
    accumulate ? target.add_(product) : target.copy_(product);
  }
}

void PutGradient(const Tensor& parameter, const Tensor& values, bool accumulate) {
  accumulate ? parameter.grad().add_(values) : parameter.grad().copy_(values);
  RunGradientHook(parameter);
}

void RunGradientHook(const Tensor& parameter) {
  const auto& hook = torch::autograd::impl::post_acc_grad_hooks(parameter);
  if (hook != nullptr) (*hook)(parameter);
}

Tensor Linear::EffectiveWeight(bool training) {
  if (gains_.defined()) return WeightNormed();
  if (u_.defined()) return SpectralNormed(training);
  return weight_;
}

Tensor Linear::WeightNormed() const {
  std::vector<Tensor> parts;
  std::int64_t begin = 0, gain = 0;
  for (const ColumnBlock& block : spec_.blocks) {
    Tensor part = weight_.narrow(1, begin, block.width);
    begin += block.width;
    if (block.normalised) {
      const Tensor norm_row = at::linalg_vector_norm(part, 2, {0}, true);
      part = part * (gains_.narrow(0, gain, block.width) / norm_row);
      gain += block.width;
    }
    parts.push_back(part);
  }
  return Joined(parts);
}

void Linear::Iterate(const Tensor& weight, std::int64_t index) {
  const torch::NoGradGuard no_grad;
  u_[index].copy_(Normalised(at::mv(weight.t(), v_[index])));
  v_[index].copy_(Normalised(at::mv(weight, u_[index])));
}

Tensor Linear::SpectralNormed(bool training) {
  std::vector<Tensor> parts;
  std::int64_t begin = 0, index = 0;
  for (const ColumnBlock& block : spec_.blocks) {
    Tensor part = weight_.narrow(1, begin, block.width);
    begin += block.width;
    if (block.normalised) {
      if (training) Iterate(part.detach(), index);
      // Copies, because the next forward writes the vectors while a backward of this one may still be due.
      const Tensor u = u_[index].clone(), v = v_[index].clone();
      part = part / at::dot(v, at::mv(part, u));
      ++index;
    }
    parts.push_back(part);
  }
  return Joined(parts);
}

}  // namespace entrain::model
