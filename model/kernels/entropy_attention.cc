#include "model/kernels/entropy_attention.h"

#include <cmath>
#include <limits>
#include <optional>

#include "base/check.h"
#include "model/kernels/backends.h"

namespace entrain::kernels {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// What a backward call needs besides tensors.
struct CallState {
  const AttentionBackend* backend;
  double scale;
  bool causal;
};

CallState Resolve(const AttentionOptions& options, const AttentionInputs& inputs) {
  const AttentionBackend* backend = FindAttentionBackend(options.backend, inputs);
  TORCH_CHECK(backend != nullptr, "no attention back end ", options.backend, " for ", inputs.q_BHTD.scalar_type());
  return {backend, inputs.scale, inputs.causal};
}

double ScaleOf(const AttentionOptions& options, std::int64_t head_width) {
  return options.scale != 0.0 ? options.scale : 1.0 / std::sqrt(static_cast<double>(head_width));
}

AttentionOutputs Allocate(const AttentionInputs& inputs, Tensor out_BHTD) {
  const auto sizes = inputs.q_BHTD.sizes();
  const auto options = inputs.q_BHTD.options();
  AttentionOutputs outputs;
  outputs.out_BHTD = std::move(out_BHTD);
  outputs.entropy_BHT = at::empty({sizes[0], sizes[1], sizes[2]}, options);
  outputs.row_max_BHT = at::empty({sizes[0], sizes[1], sizes[2]}, options);
  outputs.log_sum_BHT = at::empty({sizes[0], sizes[1], sizes[2]}, options);
  outputs.max_abs_score_BH = at::empty({sizes[0], sizes[1]}, options);
  return outputs;
}

void Remember(AutogradContext* context, const CallState& state) {
  context->saved_data["backend"] = static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(state.backend));
  context->saved_data["scale"] = state.scale;
  context->saved_data["causal"] = state.causal;
}

const AttentionBackend& Recall(AutogradContext* context, AttentionInputs* inputs) {
  inputs->scale = context->saved_data["scale"].toDouble();
  inputs->causal = context->saved_data["causal"].toBool();
  return *reinterpret_cast<const AttentionBackend*>(static_cast<std::intptr_t>(context->saved_data["backend"].toInt()));
}

// [B,T,3,H,D] -> q, k or v as [B,H,T,D].
Tensor Third(const Tensor& qkv_BT3HD, std::int64_t index) { return qkv_BT3HD.select(2, index).transpose(1, 2); }

Tensor ScaleQueries(const Tensor& q_BHTD, const Tensor& query_scale_HT) {
  return query_scale_HT.defined() ? q_BHTD * query_scale_HT.unsqueeze(2) : q_BHTD;
}

struct PackedAttention : torch::autograd::Function<PackedAttention> {
  static variable_list forward(AutogradContext* context, const Tensor& qkv_BT3HD,
                               const std::optional<Tensor>& optional_query_scale_HT, const AttentionOptions& options) {
    const auto sizes = qkv_BT3HD.sizes();
    const Tensor query_scale_HT = optional_query_scale_HT.value_or(Tensor());
    AttentionInputs inputs{ScaleQueries(Third(qkv_BT3HD, 0), query_scale_HT), Third(qkv_BT3HD, 1), Third(qkv_BT3HD, 2),
                           ScaleOf(options, sizes[4]), options.causal};
    const CallState state = Resolve(options, inputs);
    Tensor out_BTHD = at::empty({sizes[0], sizes[1], sizes[3], sizes[4]}, qkv_BT3HD.options());
    AttentionOutputs outputs = Allocate(inputs, out_BTHD.transpose(1, 2));
    state.backend->forward(inputs, outputs);
    Remember(context, state);
    context->save_for_backward(
        {qkv_BT3HD, query_scale_HT, out_BTHD, outputs.entropy_BHT, outputs.row_max_BHT, outputs.log_sum_BHT});
    context->set_materialize_grads(false);
    if (options.differentiable_entropy) {
      context->mark_non_differentiable({outputs.max_abs_score_BH});
    } else {
      context->mark_non_differentiable({outputs.max_abs_score_BH, outputs.entropy_BHT});
    }
    return {out_BTHD, outputs.entropy_BHT, outputs.max_abs_score_BH};
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const auto saved = context->get_saved_variables();
    const Tensor& qkv_BT3HD = saved[0];
    const Tensor& query_scale_HT = saved[1];
    const Tensor q_BHTD = Third(qkv_BT3HD, 0);
    AttentionInputs inputs{ScaleQueries(q_BHTD, query_scale_HT), Third(qkv_BT3HD, 1), Third(qkv_BT3HD, 2)};
    const AttentionBackend& backend = Recall(context, &inputs);
    const AttentionOutputs outputs{saved[2].transpose(1, 2), saved[3], saved[4], saved[5], {}};
    Tensor d_qkv_BT3HD = at::empty_like(qkv_BT3HD, at::MemoryFormat::Contiguous);
    AttentionInputGradients gradients{Third(d_qkv_BT3HD, 0), Third(d_qkv_BT3HD, 1), Third(d_qkv_BT3HD, 2)};
    backend.backward(inputs, outputs, {grads[0].defined() ? grads[0].transpose(1, 2) : Tensor(), grads[1]}, gradients);
    Tensor d_scale_HT;
    if (query_scale_HT.defined()) {
      d_scale_HT = (q_BHTD * gradients.dq_BHTD).sum(at::IntArrayRef({0, 3}));
      gradients.dq_BHTD.mul_(query_scale_HT.unsqueeze(2));
    }
    return {d_qkv_BT3HD, d_scale_HT, Tensor()};
  }
};

struct SplitAttention : torch::autograd::Function<SplitAttention> {
  static variable_list forward(AutogradContext* context, const Tensor& q_BHTD, const Tensor& k_BHTD, const Tensor& v_BHTD,
                               const AttentionOptions& options) {
    AttentionInputs inputs{q_BHTD, k_BHTD, v_BHTD, ScaleOf(options, q_BHTD.size(3)), options.causal};
    const CallState state = Resolve(options, inputs);
    AttentionOutputs outputs = Allocate(inputs, at::empty(q_BHTD.sizes(), q_BHTD.options()));
    state.backend->forward(inputs, outputs);
    Remember(context, state);
    context->save_for_backward(
        {q_BHTD, k_BHTD, v_BHTD, outputs.out_BHTD, outputs.entropy_BHT, outputs.row_max_BHT, outputs.log_sum_BHT});
    context->set_materialize_grads(false);
    if (options.differentiable_entropy) {
      context->mark_non_differentiable({outputs.max_abs_score_BH});
    } else {
      context->mark_non_differentiable({outputs.max_abs_score_BH, outputs.entropy_BHT});
    }
    return {outputs.out_BHTD, outputs.entropy_BHT, outputs.max_abs_score_BH};
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const auto saved = context->get_saved_variables();
    AttentionInputs inputs{saved[0], saved[1], saved[2]};
    const AttentionBackend& backend = Recall(context, &inputs);
    const AttentionOutputs outputs{saved[3], saved[4], saved[5], saved[6], {}};
    const auto sizes = saved[0].sizes();
    AttentionInputGradients gradients{at::empty(sizes, saved[0].options()), at::empty(sizes, saved[0].options()),
                                      at::empty(sizes, saved[0].options())};
    backend.backward(inputs, outputs, {grads[0], grads[1]}, gradients);
    return {gradients.dq_BHTD, gradients.dk_BHTD, gradients.dv_BHTD, Tensor()};
  }
};

}  // namespace

const std::vector<const AttentionBackend*>& AttentionBackends() {
  static const std::vector<const AttentionBackend*> backends = {&Avx512Backend(), &Avx2Backend(), &ReferenceBackend(),
                                                                 &LoopsBackend()};
  return backends;
}

const AttentionBackend* FindAttentionBackend(std::string_view name, const AttentionInputs& inputs) {
  for (const AttentionBackend* backend : AttentionBackends()) {
    const bool wanted = name.empty() ? backend != &LoopsBackend() : backend->name == name;
    if (wanted && backend->supports(inputs)) return backend;
  }
  return nullptr;
}

AttentionResult EntropyAttention(const Tensor& q_BHTD, const Tensor& k_BHTD, const Tensor& v_BHTD,
                                 const AttentionOptions& options) {
  const variable_list results = SplitAttention::apply(q_BHTD, k_BHTD, v_BHTD, options);
  return {results[0], results[1], results[2]};
}

AttentionResult EntropyAttentionPacked(const Tensor& qkv_BT3HD, const Tensor& query_scale_HT,
                                       const AttentionOptions& options) {
  // An argument that autograd sees as a tensor must be defined.
  const std::optional<Tensor> query_scale = query_scale_HT.defined() ? std::optional(query_scale_HT) : std::nullopt;
  const variable_list results = PackedAttention::apply(qkv_BT3HD, query_scale, options);
  return {results[0], results[1], results[2]};
}

Tensor EpsilonEntropy(const Tensor& q_BHTD, const Tensor& k_BHTD, double scale, double eps) {
  const std::int64_t tokens = q_BHTD.size(2);
  const Tensor mask = at::ones({tokens, tokens}, q_BHTD.options().dtype(torch::kBool)).triu_(1);
  const Tensor scores = at::matmul(q_BHTD * scale, k_BHTD.transpose(2, 3));
  const Tensor weights = scores.masked_fill(mask, -std::numeric_limits<double>::infinity()).softmax(-1);
  return -(weights * (weights + eps).log()).sum(-1);
}

}  // namespace entrain::kernels
