// The operator as PyTorch sees it: torch.ops.entrain.entropy_attention and the two halves that it consists of. Each half has a kernel for
// every device with a back end and one for shapes alone (meta), so that torch.compile and export can trace it; the gradient is an
// autograd function over the halves.
#include <torch/library.h>
#include <torch/torch.h>

#include "model/kernels/backends.h"

namespace entrain::kernels {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

using ForwardTensors = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;  // out, entropy, row_max, log_sum, max_abs_score
using GradientTensors = std::tuple<Tensor, Tensor, Tensor>;

void CheckShapes(const Tensor& q_BHTD, const Tensor& k_BHTD, const Tensor& v_BHTD) {
  TORCH_CHECK(q_BHTD.dim() == 4, "entropy_attention: q must be [batch, heads, tokens, head width], not of ", q_BHTD.dim(),
              " dimensions");
  TORCH_CHECK(q_BHTD.sym_sizes() == k_BHTD.sym_sizes() && q_BHTD.sym_sizes() == v_BHTD.sym_sizes(),
              "entropy_attention: q ", q_BHTD.sym_sizes(), ", k ", k_BHTD.sym_sizes(), " and v ", v_BHTD.sym_sizes(),
              " must have one shape");
  TORCH_CHECK(q_BHTD.scalar_type() == k_BHTD.scalar_type() && q_BHTD.scalar_type() == v_BHTD.scalar_type(),
              "entropy_attention: q, k and v must have one type");
}

// Back ends read rows of adjacent numbers.
Tensor WithAdjacentRows(const Tensor& x_BHTD) { return x_BHTD.stride(3) == 1 ? x_BHTD : x_BHTD.contiguous(); }

AttentionInputs InputsOf(const Tensor& q_BHTD, const Tensor& k_BHTD, const Tensor& v_BHTD, double scale, bool causal,
                         bool deterministic) {
  return {WithAdjacentRows(q_BHTD), WithAdjacentRows(k_BHTD), WithAdjacentRows(v_BHTD), scale, causal, deterministic};
}

ForwardTensors ForwardOperator(const Tensor& q_BHTD, const Tensor& k_BHTD, const Tensor& v_BHTD, double scale, bool causal,
                               bool entropy, bool deterministic, c10::string_view backend) {
  CheckShapes(q_BHTD, k_BHTD, v_BHTD);
  TORCH_CHECK(q_BHTD.numel() > 0, "entropy_attention: nothing to attend to in ", q_BHTD.sizes());
  const AttentionInputs inputs = InputsOf(q_BHTD, k_BHTD, v_BHTD, scale, causal, deterministic);
  AttentionOutputs outputs = AllocateAttentionOutputs(inputs, at::empty(q_BHTD.sizes(), q_BHTD.options()), entropy);
  RequireAttentionBackend(backend, inputs).forward(inputs, outputs);
  if (!entropy) outputs.entropy_BHT = at::empty({0}, outputs.row_max_BHT.options());
  return {outputs.out_BHTD, outputs.entropy_BHT, outputs.row_max_BHT, outputs.log_sum_BHT, outputs.max_abs_score_BH};
}

GradientTensors BackwardOperator(const Tensor& q_BHTD, const Tensor& k_BHTD, const Tensor& v_BHTD, const Tensor& out_BHTD,
                                 const Tensor& entropy_BHT, const Tensor& row_max_BHT, const Tensor& log_sum_BHT,
                                 const std::optional<Tensor>& d_out_BHTD, const std::optional<Tensor>& d_entropy_BHT, double scale,
                                 bool causal, bool deterministic, c10::string_view backend) {
  const AttentionInputs inputs = InputsOf(q_BHTD, k_BHTD, v_BHTD, scale, causal, deterministic);
  const auto empty = [&] { return at::empty(q_BHTD.sizes(), q_BHTD.options()); };
  AttentionInputGradients gradients{empty(), empty(), empty()};
  RequireAttentionBackend(backend, inputs)
      .backward(inputs, {out_BHTD, entropy_BHT, row_max_BHT, log_sum_BHT, {}},
                {d_out_BHTD.value_or(Tensor()), d_entropy_BHT.value_or(Tensor())}, gradients);
  return {gradients.dq_BHTD, gradients.dk_BHTD, gradients.dv_BHTD};
}

ForwardTensors ForwardShapes(const Tensor& q_BHTD, const Tensor& k_BHTD, const Tensor& v_BHTD, double /*scale*/, bool /*causal*/,
                             bool entropy, bool /*deterministic*/, c10::string_view /*backend*/) {
  CheckShapes(q_BHTD, k_BHTD, v_BHTD);
  const auto sizes = q_BHTD.sym_sizes();
  const auto options = q_BHTD.options().dtype(StatisticsType(q_BHTD.scalar_type()));
  const auto rows = [&] { return at::empty_symint({sizes[0], sizes[1], sizes[2]}, options); };
  return {at::empty_symint(sizes, q_BHTD.options()), entropy ? rows() : at::empty({0}, options), rows(), rows(),
          at::empty_symint({sizes[0], sizes[1]}, options)};
}

GradientTensors BackwardShapes(const Tensor& q_BHTD, const Tensor& /*k*/, const Tensor& /*v*/, const Tensor& /*out*/,
                               const Tensor& /*entropy*/, const Tensor& /*row_max*/, const Tensor& /*log_sum*/,
                               const std::optional<Tensor>& /*d_out*/, const std::optional<Tensor>& /*d_entropy*/, double /*scale*/,
                               bool /*causal*/, bool /*deterministic*/, c10::string_view /*backend*/) {
  const auto empty = [&] { return at::empty_symint(q_BHTD.sym_sizes(), q_BHTD.options()); };
  return {empty(), empty(), empty()};
}

ForwardTensors CallForward(const Tensor& q_BHTD, const Tensor& k_BHTD, const Tensor& v_BHTD, double scale, bool causal, bool entropy,
                           bool deterministic, c10::string_view backend) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("entrain::entropy_attention_forward", "")
                             .typed<decltype(ForwardOperator)>();
  return op.call(q_BHTD, k_BHTD, v_BHTD, scale, causal, entropy, deterministic, backend);
}

struct OperatorGradient : torch::autograd::Function<OperatorGradient> {
  static variable_list forward(AutogradContext* context, const Tensor& q_BHTD, const Tensor& k_BHTD, const Tensor& v_BHTD, double scale,
                               bool causal, bool entropy, bool deterministic, const std::string& backend) {
    const at::AutoDispatchBelowADInplaceOrView below;
    const auto [out, entropy_BHT, row_max, log_sum, max_abs] =
        CallForward(q_BHTD, k_BHTD, v_BHTD, scale, causal, entropy, deterministic, backend);
    context->saved_data["scale"] = scale;
    context->saved_data["causal"] = causal;
    context->saved_data["deterministic"] = deterministic;
    context->saved_data["backend"] = backend;
    context->save_for_backward({q_BHTD, k_BHTD, v_BHTD, out, entropy_BHT, row_max, log_sum});
    context->set_materialize_grads(false);
    context->mark_non_differentiable({row_max, log_sum, max_abs});
    return {out, entropy_BHT, row_max, log_sum, max_abs};
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    static const auto op = c10::Dispatcher::singleton()
                               .findSchemaOrThrow("entrain::entropy_attention_backward", "")
                               .typed<decltype(BackwardOperator)>();
    const auto given = [](const Tensor& x) { return x.defined() && x.sym_numel() != 0 ? std::optional(x) : std::nullopt; };
    const auto saved = context->get_saved_variables();
    const auto [dq, dk, dv] = op.call(saved[0], saved[1], saved[2], saved[3], saved[4], saved[5], saved[6], given(grads[0]),
                                      given(grads[1]), context->saved_data["scale"].toDouble(), context->saved_data["causal"].toBool(),
                                      context->saved_data["deterministic"].toBool(), context->saved_data["backend"].toStringRef());
    return {dq, dk, dv, Tensor(), Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

ForwardTensors ForwardWithGradient(const Tensor& q_BHTD, const Tensor& k_BHTD, const Tensor& v_BHTD, double scale, bool causal,
                                   bool entropy, bool deterministic, c10::string_view backend) {
  const variable_list results =
      OperatorGradient::apply(q_BHTD, k_BHTD, v_BHTD, scale, causal, entropy, deterministic, std::string(backend));
  return {results[0], results[1], results[2], results[3], results[4]};
}

// Differentiable in temperature through plain operators: its gradient is a row's product of q and dq.
std::tuple<Tensor, Tensor> PublicOperator(const Tensor& q_BHTD, const Tensor& k_BHTD, const Tensor& v_BHTD,
                                          const std::optional<Tensor>& temperature, bool causal, std::optional<double> scale,
                                          bool deterministic) {
  const Tensor q = temperature.has_value() && temperature->defined() ? (q_BHTD / temperature->unsqueeze(-1)).to(q_BHTD.scalar_type())
                                                                      : q_BHTD;
  const auto results = CallForward(q, k_BHTD, v_BHTD, AttentionScale(scale.value_or(0.0), q_BHTD.size(3)), causal, true,
                                   deterministic, "");
  return {std::get<0>(results), std::get<1>(results)};
}

}  // namespace

AttentionResult EntropyAttention(const Tensor& q_BHTD, const Tensor& k_BHTD, const Tensor& v_BHTD, const AttentionOptions& options) {
  const auto [out, entropy, row_max, log_sum, max_abs] =
      CallForward(q_BHTD, k_BHTD, v_BHTD, AttentionScale(options.scale, q_BHTD.size(3)), options.causal, options.entropy,
                  options.deterministic, options.backend);
  if (!options.entropy) return {out, Tensor(), max_abs};
  return {out, options.differentiable_entropy ? entropy : entropy.detach(), max_abs};
}

}  // namespace entrain::kernels

TORCH_LIBRARY(entrain, library) {
  library.def(
      "entropy_attention(Tensor q, Tensor k, Tensor v, Tensor? temperature=None, *, bool causal=True, float? scale=None, "
      "bool deterministic=False) -> (Tensor out, Tensor entropy)",
      entrain::kernels::PublicOperator);
  library.def(
      "entropy_attention_forward(Tensor q, Tensor k, Tensor v, float scale, bool causal, bool entropy, bool deterministic, "
      "str backend) -> (Tensor out, Tensor entropy, Tensor row_max, Tensor log_sum, Tensor max_abs_score)",
      {at::Tag::pt2_compliant_tag});
  library.def(
      "entropy_attention_backward(Tensor q, Tensor k, Tensor v, Tensor out, Tensor entropy, Tensor row_max, Tensor log_sum, "
      "Tensor? d_out, Tensor? d_entropy, float scale, bool causal, bool deterministic, str backend) -> (Tensor dq, Tensor dk, Tensor dv)",
      {at::Tag::pt2_compliant_tag});
}

TORCH_LIBRARY_IMPL(entrain, CPU, library) {
  library.impl("entropy_attention_forward", entrain::kernels::ForwardOperator);
  library.impl("entropy_attention_backward", entrain::kernels::BackwardOperator);
}
TORCH_LIBRARY_IMPL(entrain, CUDA, library) {
  library.impl("entropy_attention_forward", entrain::kernels::ForwardOperator);
  library.impl("entropy_attention_backward", entrain::kernels::BackwardOperator);
}
TORCH_LIBRARY_IMPL(entrain, Meta, library) {
  library.impl("entropy_attention_forward", entrain::kernels::ForwardShapes);
  library.impl("entropy_attention_backward", entrain::kernels::BackwardShapes);
}
TORCH_LIBRARY_IMPL(entrain, Autograd, library) {
  library.impl("entropy_attention_forward", entrain::kernels::ForwardWithGradient);
}
