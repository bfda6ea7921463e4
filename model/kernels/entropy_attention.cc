#include "model/kernels/entropy_attention.h"

#include <torch/torch.h>

#include <cmath>
#include <limits>
#include <optional>

#include "model/kernels/backends.h"

namespace entrain::kernels {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

void Remember(AutogradContext* context, const AttentionBackend& backend, const AttentionInputs& inputs) {
  context->saved_data["backend"] = static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(&backend));
  context->saved_data["scale"] = inputs.scale;
  context->saved_data["causal"] = inputs.causal;
  context->saved_data["deterministic"] = inputs.deterministic;
}

const AttentionBackend& Recall(AutogradContext* context, AttentionInputs* inputs) {
  inputs->scale = context->saved_data["scale"].toDouble();
  inputs->causal = context->saved_data["causal"].toBool();
  inputs->deterministic = context->saved_data["deterministic"].toBool();
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
                           AttentionScale(options.scale, sizes[4]), options.causal, options.deterministic};
    const AttentionBackend& backend = RequireAttentionBackend(options.backend, inputs);
    Tensor out_BTHD = at::empty({sizes[0], sizes[1], sizes[3], sizes[4]}, qkv_BT3HD.options());
    AttentionOutputs outputs = AllocateAttentionOutputs(inputs, out_BTHD.transpose(1, 2), options.entropy);
    backend.forward(inputs, outputs);
    Remember(context, backend, inputs);
    context->save_for_backward(
        {qkv_BT3HD, query_scale_HT, out_BTHD, outputs.entropy_BHT, outputs.row_max_BHT, outputs.log_sum_BHT});
    context->set_materialize_grads(false);
    if (!options.entropy) outputs.entropy_BHT = at::empty({0}, outputs.row_max_BHT.options());
    if (options.differentiable_entropy && options.entropy) {
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

}  // namespace

const std::vector<const AttentionBackend*>& AttentionBackends() {
  static const std::vector<const AttentionBackend*> backends = {
#ifdef ENTRAIN_CUDA
      &CudaBackend(),
#endif
      &Avx512Backend(), &Avx2Backend(), &ReferenceBackend(), &LoopsBackend()};
  return backends;
}

torch::Dtype StatisticsType(torch::Dtype inputs) {
  return inputs == torch::kBFloat16 || inputs == torch::kFloat16 ? torch::kFloat32 : inputs;
}

const AttentionBackend* FindAttentionBackend(std::string_view name, const AttentionInputs& inputs) {
  const std::string_view forced = name.empty() && inputs.q_BHTD.device().is_cpu() ? ForcedCpuPath() : "";
  for (const AttentionBackend* backend : AttentionBackends()) {
    const bool wanted = name.empty() ? backend != &LoopsBackend() : backend->name == name;
    // A path that is not the forced one steps back; the reference stays for what no vector kernel takes.
    const bool steps_back = !forced.empty() && backend->name.starts_with("cpu-") && !backend->name.ends_with(forced);
    if (wanted && !steps_back && backend->supports(inputs)) return backend;
  }
  return nullptr;
}

const AttentionBackend& RequireAttentionBackend(std::string_view name, const AttentionInputs& inputs) {
  const AttentionBackend* backend = FindAttentionBackend(name, inputs);
  TORCH_CHECK(backend != nullptr, "attention: no back end ", name, " for ", inputs.q_BHTD.scalar_type(), " on ",
              inputs.q_BHTD.device(), " with heads ", inputs.q_BHTD.size(3), " wide");
  return *backend;
}

double AttentionScale(double scale, std::int64_t head_width) {
  return scale != 0.0 ? scale : 1.0 / std::sqrt(static_cast<double>(head_width));
}

AttentionOutputs AllocateAttentionOutputs(const AttentionInputs& inputs, Tensor out_BHTD, bool entropy) {
  const auto sizes = inputs.q_BHTD.sizes();
  const auto options = inputs.q_BHTD.options().dtype(StatisticsType(inputs.q_BHTD.scalar_type()));
  AttentionOutputs outputs;
  outputs.out_BHTD = std::move(out_BHTD);
  if (entropy) outputs.entropy_BHT = at::empty({sizes[0], sizes[1], sizes[2]}, options);
  outputs.row_max_BHT = at::empty({sizes[0], sizes[1], sizes[2]}, options);
  outputs.log_sum_BHT = at::empty({sizes[0], sizes[1], sizes[2]}, options);
  outputs.max_abs_score_BH = at::empty({sizes[0], sizes[1]}, options);
  return outputs;
}

AttentionResult EntropyAttentionPacked(const Tensor& qkv_BT3HD, const Tensor& query_scale_HT,
                                       const AttentionOptions& options) {
  // An argument that autograd sees as a tensor must be defined.
  const std::optional<Tensor> query_scale = query_scale_HT.defined() ? std::optional(query_scale_HT) : std::nullopt;
  const variable_list results = PackedAttention::apply(qkv_BT3HD, query_scale, options);
  return {results[0], options.entropy ? results[1] : Tensor(), results[2]};
}

Tensor EpsilonEntropy(const Tensor& q_BHTD, const Tensor& k_BHTD, double scale, double eps) {
  const std::int64_t tokens = q_BHTD.size(2);
  const Tensor mask = at::ones({tokens, tokens}, q_BHTD.options().dtype(torch::kBool)).triu_(1);
  const Tensor scores = at::matmul(q_BHTD * scale, k_BHTD.transpose(2, 3));
  const Tensor weights = scores.masked_fill(mask, -std::numeric_limits<double>::infinity()).softmax(-1);
  return -(weights * (weights + eps).log()).sum(-1);
}

}  // namespace entrain::kernels
