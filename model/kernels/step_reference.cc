// The step's kernels in ATen operators.
#include <limits>

#include "base/check.h"
#include "model/kernels/step_kernels.h"

namespace entrain::kernels {
namespace {

using torch::Tensor;

constexpr std::int64_t kNormBlock = 1024;
constexpr double kClipEpsilon = 1e-6;

void Put(const Tensor& target, const Tensor& values, bool accumulate = false) {
  Tensor out = target;
  if (accumulate) {
    out.add_(values.view(out.sizes()));
  } else {
    out.copy_(values.view(out.sizes()));
  }
}

void CrossEntropyReference(const CrossEntropy& call) {
  const torch::Dtype dtype = call.loss_N.scalar_type();
  const Tensor logits = call.logits_NV.narrow(1, 0, call.vocabulary).to(dtype);
  const Tensor counted = call.labels_N.ge(0);
  const Tensor place = call.labels_N.clamp_min(0).unsqueeze(1);
  const Tensor log_weights = logits.log_softmax(1);
  Put(call.loss_N, log_weights.gather(1, place).squeeze(1).neg().masked_fill(counted.logical_not(), 0.0));
  if (!call.gradient) return;
  Tensor d_logits = log_weights.exp();
  d_logits.scatter_add_(1, place, at::full({}, -1.0, d_logits.options()).expand_as(place));
  d_logits.mul_(call.row_weight).masked_fill_(counted.logical_not().unsqueeze(1), 0.0);
  Tensor out = call.logits_NV;
  out.narrow(1, 0, call.vocabulary).copy_(d_logits);
  out.narrow(1, call.vocabulary, out.size(1) - call.vocabulary).zero_();
}

void ResidualNormReference(const ResidualNorm& call) {
  Tensor sum = call.residual_NC;
  const torch::Dtype dtype = sum.scalar_type();
  if (call.delta_NC.defined()) {
    sum = sum + (call.bias_C.defined() ? call.delta_NC.to(dtype) + call.bias_C : call.delta_NC.to(dtype));
    Put(call.sum_NC, sum);
  }
  if (!call.gain_C.defined()) return;
  const auto [normed, mean, inverse] = at::native_layer_norm(sum, {sum.size(1)}, call.gain_C, call.shift_C, call.eps);
  Put(call.normed_NC, normed);
  Put(call.mean_N, mean);
  Put(call.inverse_deviation_N, inverse);
}

void ResidualNormGradientReference(const ResidualNormGradient& call) {
  Tensor d_sum = call.d_sum_NC;
  if (call.gain_C.defined()) {
    const Tensor column_mean = call.mean_N.unsqueeze(1), column_inverse = call.inverse_deviation_N.unsqueeze(1);
    const Tensor d_normed = call.d_normed_NC.to(d_sum.scalar_type());
    const auto [d_x, d_gain, d_shift] = at::native_layer_norm_backward(
        d_normed, call.sum_NC, {d_sum.size(1)}, column_mean, column_inverse, call.gain_C, call.gain_C, {true, true, true});
    d_sum.add_(d_x);
    Put(call.d_gain_C, d_gain, call.accumulate);
    Put(call.d_shift_C, d_shift, call.accumulate);
  }
  if (call.d_delta_NC.defined()) Put(call.d_delta_NC, d_sum);
  if (call.d_bias_C.defined()) Put(call.d_bias_C, d_sum.sum(0), call.accumulate);
}

Tensor Biased(const Tensor& x, const Tensor& bias) {
  const Tensor values = bias.defined() ? x.to(bias.scalar_type()) + bias : x;
  return values.scalar_type() == torch::kFloat64 ? values : values.to(torch::kFloat32);
}

Tensor Activated(ActivationKind kind, const Tensor& x, const Tensor& slope) {
  switch (kind) {
    case ActivationKind::kIdentity: return x;
    case ActivationKind::kRelu: return x.relu();
    case ActivationKind::kLeakyRelu: return at::prelu(x, slope.to(x.scalar_type()));
    case ActivationKind::kGeluErf: return at::gelu(x);
    case ActivationKind::kGeluTanh: return at::gelu(x, "tanh");
  }
  ENTRAIN_CHECK(false);
}

// d_y f'(x).
Tensor ThroughActivation(ActivationKind kind, const Tensor& d_y, const Tensor& x, const Tensor& slope) {
  switch (kind) {
    case ActivationKind::kIdentity: return d_y;
    case ActivationKind::kRelu: return at::threshold_backward(d_y, x, 0);
    case ActivationKind::kLeakyRelu: return at::where(x.le(0.0), d_y * slope.to(x.scalar_type()), d_y);
    case ActivationKind::kGeluErf: return at::gelu_backward(d_y, x);
    case ActivationKind::kGeluTanh: return at::gelu_backward(d_y, x, "tanh");
  }
  ENTRAIN_CHECK(false);
}

void BiasActivationReference(const BiasActivation& call) {
  const Tensor x = Biased(call.x_NF, call.bias_F);
  const bool keeps = call.derivative_NF.defined();
  const Tensor derivative = keeps ? ThroughActivation(call.kind, at::ones_like(x), x, call.slope) : Tensor();
  Put(call.y_NF, Activated(call.kind, x, call.slope));
  if (keeps) Put(call.derivative_NF, derivative);
}

void BiasActivationGradientReference(const BiasActivationGradient& call) {
  Tensor d_x;
  if (call.derivative_NF.defined()) {
    d_x = call.d_y_NF * call.derivative_NF;
  } else {
    const Tensor x = Biased(call.x_NF, call.bias_F), d_y = call.d_y_NF.to(x.scalar_type());
    if (call.kind == ActivationKind::kLeakyRelu && call.d_slope.defined()) {
      Put(call.d_slope, (d_y * x).masked_fill(x.gt(0.0), 0.0).sum(), call.accumulate);
    }
    d_x = ThroughActivation(call.kind, d_y, x, call.slope);
  }
  Put(call.d_x_NF, d_x);
  if (call.d_bias_F.defined()) Put(call.d_bias_F, d_x.sum(0), call.accumulate);
}

void ColumnSumReference(const ColumnSum& call) {
  Put(call.out_F, call.x_NF.to(call.out_F.scalar_type()).sum(0), call.accumulate);
}

void EmbeddingReference(const Embedding& call) {
  const std::int64_t width = call.table_VC.size(1);
  const Tensor rows_BTC = call.table_VC.index_select(0, call.tokens_N).view({-1, call.context, width});
  Put(call.x_NC, rows_BTC + call.positions_PC.narrow(0, 0, call.context));
}

void EmbeddingGradientReference(const EmbeddingGradient& call) {
  Tensor d_table = call.d_table_VC, d_positions = call.d_positions_PC;
  d_table.index_add_(0, call.tokens_N, call.d_x_NC);
  const Tensor d_used = call.d_x_NC.view({-1, call.context, call.d_x_NC.size(1)}).sum(0);
  if (!call.accumulate) d_positions.zero_();
  d_positions.narrow(0, 0, call.context).add_(d_used);
}

void GradientNormReference(const GradientNorm& call) {
  const Tensor block_norms = at::linalg_vector_norm(call.gradient.view({-1, kNormBlock}), 2, {1}).to(torch::kFloat64);
  const Tensor scale = call.schedule[schedule::kGradientScale];
  const Tensor norm = at::linalg_vector_norm(block_norms) * scale;
  Tensor factor = scale;
  if (call.max_norm > 0.0) factor = scale * (call.max_norm / (norm + kClipEpsilon)).clamp_max(1.0);
  Put(call.clip, at::stack({norm, factor, at::isfinite(norm).to(torch::kFloat64)}));
}

// `decay` for elements [begin, end).
void AdamWRange(const AdamWUpdate& call, std::int64_t begin, std::int64_t end, double decay) {
  if (begin == end) return;
  const torch::Dtype dtype = call.parameter.scalar_type();
  const auto range = [&](const Tensor& flat) { return flat.narrow(0, begin, end - begin); };
  const auto number = [&](std::int64_t place) { return call.schedule[place].to(dtype); };
  const Tensor finite = call.clip[clip::kFinite].gt(0.5);
  const auto keep = [&](const Tensor& old, const Tensor& updated) { Put(old, at::where(finite, updated, old)); };
  const Tensor gradient = range(call.gradient) * call.clip[clip::kFactor].to(dtype);
  const Tensor first = at::lerp(range(call.first_moment), gradient, 1.0 - call.beta1);
  const Tensor second = range(call.second_moment) * call.beta2 + gradient * gradient * (1.0 - call.beta2);
  const Tensor lr = number(schedule::kLearningRate);
  const Tensor denominator = second.sqrt() / number(schedule::kBiasCorrection2).sqrt() + call.eps;
  const Tensor parameter = range(call.parameter) * (1.0 - lr * decay) - (lr / number(schedule::kBiasCorrection1)) * first / denominator;
  keep(range(call.first_moment), first);
  keep(range(call.second_moment), second);
  keep(range(call.parameter), parameter);
}

void AdamWReference(const AdamWUpdate& call) {
  AdamWRange(call, 0, call.decay_end, call.weight_decay);
  AdamWRange(call, call.decay_end, call.parameter.numel(), 0.0);
  if (call.parameter_copy.defined()) Put(call.parameter_copy, call.parameter);
}

bool SupportsAnything(const Tensor& /*parameter*/) { return true; }

}  // namespace

const StepKernels& ReferenceStepKernels() {
  static const StepKernels kernels{"reference",
                                   SupportsAnything,
                                   false,
                                   CrossEntropyReference,
                                   ResidualNormReference,
                                   ResidualNormGradientReference,
                                   BiasActivationReference,
                                   BiasActivationGradientReference,
                                   ColumnSumReference,
                                   EmbeddingReference,
                                   EmbeddingGradientReference,
                                   GradientNormReference,
                                   AdamWReference};
  return kernels;
}

const std::vector<const StepKernels*>& AllStepKernels() {
  static const std::vector<const StepKernels*> all = {
#ifdef ENTRAIN_CUDA
      &CudaStepKernels(),
#endif
      &CpuStepKernels(), &ReferenceStepKernels()};
  return all;
}

const StepKernels& StepKernelsFor(const Tensor& parameter) {
  for (const StepKernels* kernels : AllStepKernels()) {
    if (kernels->supports(parameter)) return *kernels;
  }
  ENTRAIN_CHECK(false);
}

}  // namespace entrain::kernels
