#include <limits>

#include "model/kernels/backends.h"

namespace entrain::kernels {
namespace {

using torch::Tensor;

// exp of it is exactly 0, and 0 times it is 0: a masked or vanished entry adds nothing to A, where 0 * -inf would be NaN.
double VanishedScore(torch::Dtype dtype) { return dtype == torch::kFloat64 ? -800.0 : -200.0; }

// -inf above the diagonal, 0 elsewhere.
Tensor CausalMask(const Tensor& like, std::int64_t tokens) {
  thread_local Tensor cached;
  if (!cached.defined() || cached.size(0) != tokens || cached.scalar_type() != like.scalar_type() ||
      cached.device() != like.device()) {
    cached = at::full({tokens, tokens}, -std::numeric_limits<double>::infinity(), like.options()).triu_(1);
  }
  return cached;
}

// Contiguous [B*H,T,D] of StatisticsType, multiplied by factor.
Tensor Flatten(const Tensor& x_BHTD, double factor) {
  const auto sizes = x_BHTD.sizes();
  const auto type = StatisticsType(x_BHTD.scalar_type());
  Tensor flat = at::empty(sizes, x_BHTD.options().dtype(type));
  if (factor == 1.0 || type != x_BHTD.scalar_type()) {
    flat.copy_(x_BHTD);
    if (factor != 1.0) flat.mul_(factor);
  } else {
    at::mul_out(flat, x_BHTD, at::scalar_tensor(factor, x_BHTD.options()));
  }
  return flat.view({sizes[0] * sizes[1], sizes[2], sizes[3]});
}

void ForwardReference(const AttentionInputs& inputs, AttentionOutputs& outputs) {
  const std::int64_t batch = inputs.q_BHTD.size(0), heads = inputs.q_BHTD.size(1), tokens = inputs.q_BHTD.size(2);
  const Tensor q = Flatten(inputs.q_BHTD, inputs.scale);
  const Tensor k = Flatten(inputs.k_BHTD, 1.0);
  const Tensor v = Flatten(inputs.v_BHTD, 1.0);
  Tensor shifted = at::bmm(q, k.transpose(1, 2));
  if (inputs.causal) shifted.tril_();
  outputs.max_abs_score_BH.copy_(
      at::linalg_vector_norm(shifted, std::numeric_limits<double>::infinity(), {1, 2}).view({batch, heads}));
  if (inputs.causal) shifted.add_(CausalMask(shifted, tokens));
  const Tensor row_max = shifted.amax(2, true);
  shifted.sub_(row_max).clamp_min_(VanishedScore(shifted.scalar_type()));
  Tensor weights = shifted.exp();
  const Tensor sum = weights.sum(2, true);
  weights.div_(sum);
  const Tensor log_sum = sum.log();
  outputs.out_BHTD.copy_(at::bmm(weights, v).view(inputs.v_BHTD.sizes()));
  outputs.row_max_BHT.copy_(row_max.view({batch, heads, tokens}));
  outputs.log_sum_BHT.copy_(log_sum.view({batch, heads, tokens}));
  if (!outputs.entropy_BHT.defined()) return;
  outputs.entropy_BHT.copy_((log_sum - shifted.mul_(weights).sum(2, true)).view({batch, heads, tokens}));
}

void BackwardReference(const AttentionInputs& inputs, const AttentionOutputs& outputs,
                       const AttentionOutputGradients& output_gradients, AttentionInputGradients& gradients) {
  const auto sizes = inputs.q_BHTD.sizes();
  const std::int64_t rows = sizes[0] * sizes[1], tokens = sizes[2];
  const auto column = [&](const Tensor& x_BHT) { return x_BHT.reshape({rows, tokens, 1}); };
  const Tensor q = Flatten(inputs.q_BHTD, inputs.scale);
  const Tensor k = Flatten(inputs.k_BHTD, 1.0);
  Tensor log_weights = at::bmm(q, k.transpose(1, 2));
  if (inputs.causal) log_weights.add_(CausalMask(log_weights, tokens));
  log_weights.sub_(column(outputs.row_max_BHT)).sub_(column(outputs.log_sum_BHT));
  log_weights.clamp_min_(VanishedScore(log_weights.scalar_type()));
  const Tensor weights = log_weights.exp();

  // d_weights = dP - g ln p. The softmax's own backward subtracts the row's mean of it, sum_j p_j d_weights_j, which is D + g H: taken
  // from the same numbers it cancels exactly in a row with one weight of 1, which rowsum(dO * O) does not.
  Tensor d_weights;
  if (output_gradients.d_out_BHTD.defined()) {
    const Tensor d_out = Flatten(output_gradients.d_out_BHTD, 1.0);
    d_weights = at::bmm(d_out, Flatten(inputs.v_BHTD, 1.0).transpose(1, 2));
    gradients.dv_BHTD.copy_(at::bmm(weights.transpose(1, 2), d_out).view(sizes));
  } else {
    d_weights = at::zeros_like(weights);
    gradients.dv_BHTD.zero_();
  }
  if (output_gradients.d_entropy_BHT.defined()) {
    d_weights.addcmul_(log_weights, column(output_gradients.d_entropy_BHT), -1.0);
  }
  const Tensor d_scores = at::_softmax_backward_data(d_weights, weights, -1, weights.scalar_type());
  gradients.dq_BHTD.copy_(at::bmm(d_scores, k).mul_(inputs.scale).view(sizes));
  gradients.dk_BHTD.copy_(at::bmm(d_scores.transpose(1, 2), q).view(sizes));
}

bool SupportsReference(const AttentionInputs& inputs) {
  return inputs.q_BHTD.is_floating_point();
}

}  // namespace

const AttentionBackend& ReferenceBackend() {
  static const AttentionBackend backend{"reference", SupportsReference, ForwardReference, BackwardReference};
  return backend;
}

}  // namespace entrain::kernels
