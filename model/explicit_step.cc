#include "model/explicit_step.h"

#include <ATen/record_function.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "model/gpt_impl.h"
#include "model/regulariser.h"

namespace entrain::model {
namespace {

using kernels::ActivationKind;
using torch::Tensor;

// Logits of this many bytes at a time stay in a CPU's last cache between the products and the loss; a GPU's memory is large.
constexpr std::int64_t kLogitBytesOnCpu = std::int64_t{4} << 20;
constexpr std::int64_t kLogitBytesOnGpu = std::int64_t{2} << 30;
// Columns of the logits buffer, so that rows start on a cache line (and on what tensor cores like).
constexpr std::int64_t kLogitAlignment = 64;

// The buffer, made anew when its form has changed. Its address is the same from step to step.
const Tensor& Sized(Tensor* buffer, at::IntArrayRef shape, const at::TensorOptions& options) {
  if (!buffer->defined() || buffer->sizes() != shape || buffer->scalar_type() != c10::typeMetaToScalarType(options.dtype()) ||
      buffer->device() != options.device()) {
    *buffer = at::empty(shape, options.requires_grad(false));
  }
  return *buffer;
}

ActivationKind KindOf(domain::Activation activation) {
  switch (activation) {
    case domain::Activation::kGelu: return ActivationKind::kGeluErf;
    case domain::Activation::kGeluNew: return ActivationKind::kGeluTanh;
    case domain::Activation::kRelu: return ActivationKind::kRelu;
    case domain::Activation::kIdentity: return ActivationKind::kIdentity;
    case domain::Activation::kLeakyRelu: return ActivationKind::kLeakyRelu;
  }
  ENTRAIN_CHECK(false);
}

void Product(const Tensor& out, const Tensor& a, const Tensor& b) {
  Tensor target = out;
  at::mm_out(target, a, b);
}

Tensor Detached(const Tensor& x) { return x.defined() ? x.detach() : x; }

}  // namespace

bool ExplicitStep::Supports(const domain::ModelConfig& config, const ForwardOptions& options) {
  return !UsesEpsilonEntropy(config.reg) && !options.keep_eps_entropy && !options.keep_logits;
}

void ExplicitStep::PrepareGradients() {
  for (const auto& [name, parameter] : model_->parameters) {
    if (!parameter.grad().defined()) parameter.mutable_grad() = at::zeros_like(parameter.detach());
  }
  slope_is_started_ = false;
}

ForwardOutput ExplicitStep::Forward(const Tensor& tokens_BT, const Tensor& labels_BT, const ForwardOptions& options) {
  Gpt::Impl& model = *model_;
  const torch::NoGradGuard no_grad;
  kernels_ = &kernels::StepKernelsFor(model.token_table_VC);
  mode_ = model.ModeOf(options);
  differentiates_ = options.backward.has_value();
  backward_ = options.backward.value_or(BackwardOptions());
  batch_ = tokens_BT.size(0);
  tokens_ = tokens_BT.size(1);
  passes_.resize(differentiates_ ? model.layers.size() : 1);
  if (differentiates_) PrepareGradients();
  const auto table_options = model.token_table_VC.options();
  const std::int64_t layers = static_cast<std::int64_t>(model.layers.size());
  Sized(&entropy_LBHT_, {layers, batch_, model.config.n_head, tokens_}, table_options);
  measures_entropy_ = options.measure_entropy || model.config.reg != domain::Regulariser::kNone;
  if (!measures_entropy_) entropy_LBHT_.zero_();
  Sized(&max_abs_score_LBH_, {layers, batch_, model.config.n_head}, table_options);

  tokens_N_ = tokens_BT.reshape({-1}).contiguous();
  Sized(&embedded_NC_, {batch_ * tokens_, model.config.n_embd}, table_options);
  kernels_->embedding({tokens_N_, tokens_, model.token_table_VC.detach(), model.position_table_PC.detach(), embedded_NC_});
  Stream stream{embedded_NC_, {}, nullptr};
  for (std::int64_t index = 0; index < layers; ++index) stream = ForwardLayer(index, stream);
  ForwardNorm(stream, model.final_norm, &final_pass_);

  ForwardOutput output;
  output.ce = Head(labels_BT.reshape({-1}).contiguous());
  {
    const torch::AutoGradMode with_graph(differentiates_);
    entropy_leaf_LBHT_ = entropy_LBHT_.detach().set_requires_grad(differentiates_ && model.EntropyNeedsGradient());
    model.Measure({entropy_leaf_LBHT_, {}, max_abs_score_LBH_}, tokens_, options, &output);
  }
  reg_ = output.reg;
  output.reg = output.reg.detach();
  const bool regularised = model.config.reg != domain::Regulariser::kNone;
  output.total = regularised ? output.ce + output.reg * model.config.reg_lambda : output.ce;
  // The caller may keep it while the next forward overwrites the buffers.
  output.entropy_LBHT = output.entropy_LBHT.defined() ? output.entropy_LBHT.clone() : Tensor();
  return output;
}

void ExplicitStep::Backward() {
  Gpt::Impl& model = *model_;
  const torch::NoGradGuard no_grad;
  BackwardRegulariser();
  Sized(&d_sum_NC_, embedded_NC_.sizes(), embedded_NC_.options()).zero_();
  BackwardNorm(d_final_NC_, model.final_norm, &final_pass_);
  for (std::int64_t index = static_cast<std::int64_t>(passes_.size()) - 1; index >= 0; --index) BackwardLayer(index);
  kernels_->embedding_gradient(
      {tokens_N_, tokens_, d_sum_NC_, model.token_table_VC.grad(), model.position_table_PC.grad(), backward_.accumulate});
  RunGradientHook(model.position_table_PC);
  RunGradientHook(model.token_table_VC);
  if (model.global_slope.defined()) RunGradientHook(model.global_slope);
}

// The regulariser's gradients are small, and autograd knows them; theta's go home at once, the entropies' wait for their layers.
void ExplicitStep::BackwardRegulariser() {
  d_entropy_LBHT_ = Tensor();
  if (!reg_.requires_grad()) return;
  std::vector<Tensor> leaves;
  if (entropy_leaf_LBHT_.requires_grad()) leaves.push_back(entropy_leaf_LBHT_);
  for (const Layer& layer : model_->layers) {
    if (layer.theta_H.requires_grad()) leaves.push_back(layer.theta_H);
  }
  const Tensor d_reg = at::full({}, model_->config.reg_lambda * backward_.loss_scale, reg_.options().requires_grad(false));
  const auto gradients = torch::autograd::grad({std::exchange(reg_, Tensor())}, leaves, {d_reg});
  std::size_t next = 0;
  if (entropy_leaf_LBHT_.requires_grad()) d_entropy_LBHT_ = gradients[next++].contiguous();
  for (; next < leaves.size(); ++next) PutGradient(leaves[next], gradients[next], backward_.accumulate);
}

ExplicitStep::Stream ExplicitStep::ForwardLayer(std::int64_t index, const Stream& in) {
  Layer& layer = model_->layers[static_cast<std::size_t>(index)];
  LayerPass& pass = PassOf(index);
  ForwardNorm(in, layer.norm_1, &pass.norm_1);
  ForwardAttention(index, layer, &pass);
  pass.out_weight = layer.attention_out.WeightWithoutGraph(mode_);
  const Tensor attention_NC = InArithmetic(pass.attention_NC);
  Product(Sized(&pass.out_delta_NC, in.residual_NC.sizes(), attention_NC.options()), attention_NC, pass.out_weight);
  ForwardNorm({pass.norm_1.sum_NC, pass.out_delta_NC, &layer.attention_out}, layer.norm_2, &pass.norm_2);
  return ForwardFeedForward(layer, &pass);
}

void ExplicitStep::BackwardLayer(std::int64_t index) {
  Layer& layer = model_->layers[static_cast<std::size_t>(index)];
  LayerPass& pass = passes_[static_cast<std::size_t>(index)];
  BackwardNorm(BackwardFeedForward(layer, &pass), layer.norm_2, &pass.norm_2);
  layer.attention_out.WeightGradient(InArithmetic(pass.attention_NC), d_delta_NC_, backward_.accumulate);
  Product(Sized(&d_attention_NC_, d_delta_NC_.sizes(), d_delta_NC_.options()), d_delta_NC_, pass.out_weight.t());
  BackwardNorm(BackwardAttention(index, layer, &pass, d_attention_NC_), layer.norm_1, &pass.norm_1);
}

void ExplicitStep::ForwardNorm(const Stream& in, const LayerNorm& norm, NormPass* pass) {
  kernels::ResidualNorm call;
  call.residual_NC = in.residual_NC;
  call.eps = model_->config.ln_eps;
  pass->from = in.from;
  pass->sum_NC = in.residual_NC;
  if (in.delta_NC.defined()) {
    pass->sum_NC = Sized(&pass->own_sum_NC, in.residual_NC.sizes(), in.residual_NC.options());
    call.delta_NC = in.delta_NC;
    if (in.from != nullptr) call.bias_C = in.from->BiasWithoutGraph();
  }
  call.sum_NC = pass->sum_NC;
  if (norm.gain.defined()) {
    const std::int64_t rows = in.residual_NC.size(0);
    call.gain_C = norm.gain.detach();
    call.shift_C = norm.shift.detach();
    call.normed_NC = Sized(&pass->own_normed_NC, in.residual_NC.sizes(), in.residual_NC.options().dtype(mode_.arithmetic));
    call.mean_N = Sized(&pass->mean_N, {rows}, in.residual_NC.options());
    call.inverse_deviation_N = Sized(&pass->inverse_deviation_N, {rows}, in.residual_NC.options());
  }
  if (in.delta_NC.defined() || norm.gain.defined()) kernels_->residual_norm(call);
  pass->normed_NC = norm.gain.defined() ? call.normed_NC : InArithmetic(pass->sum_NC);
}

void ExplicitStep::BackwardNorm(const Tensor& d_normed_NC, const LayerNorm& norm, NormPass* pass) {
  kernels::ResidualNormGradient call;
  call.d_sum_NC = d_sum_NC_;
  call.accumulate = backward_.accumulate;
  if (norm.gain.defined()) {
    call.d_normed_NC = d_normed_NC;
    call.sum_NC = pass->sum_NC;
    call.mean_N = pass->mean_N;
    call.inverse_deviation_N = pass->inverse_deviation_N;
    call.gain_C = norm.gain.detach();
    call.d_gain_C = norm.gain.grad();
    call.d_shift_C = norm.shift.grad();
  } else {
    d_sum_NC_.add_(d_normed_NC);
  }
  if (pass->from != nullptr) call.d_bias_C = pass->from->BiasGradient();
  const bool narrow = mode_.arithmetic != d_sum_NC_.scalar_type();
  if (narrow) call.d_delta_NC = Sized(&d_delta_NC_, d_sum_NC_.sizes(), d_sum_NC_.options().dtype(mode_.arithmetic));
  if (norm.gain.defined() || call.d_bias_C.defined() || narrow) kernels_->residual_norm_gradient(call);
  if (!narrow) d_delta_NC_ = d_sum_NC_;
  if (norm.gain.defined()) {
    RunGradientHook(norm.gain);
    RunGradientHook(norm.shift);
  }
  if (pass->from != nullptr) pass->from->BiasGradientIsComplete();
}

void ExplicitStep::AddBias(const Linear& linear, const Tensor& x) {
  const Tensor bias = linear.BiasWithoutGraph();
  if (bias.defined()) kernels_->bias_activation({ActivationKind::kIdentity, x, bias, {}, x});
}

void ExplicitStep::BackwardBias(const Linear& linear, const Tensor& d_y) {
  const Tensor d_bias = linear.BiasGradient();
  if (!d_bias.defined()) return;
  kernels_->column_sum({d_y, d_bias, backward_.accumulate});
  linear.BiasGradientIsComplete();
}

void ExplicitStep::ForwardAttention(std::int64_t index, Layer& layer, LayerPass* pass) {
  const std::int64_t heads = model_->config.n_head, width = model_->config.HeadWidth(), rows = batch_ * tokens_;
  const auto stream_options = pass->norm_1.sum_NC.options();
  pass->qkv_weight = layer.attention_in.WeightWithoutGraph(mode_);
  Sized(&pass->qkv_NQ, {rows, 3 * model_->config.n_embd}, pass->norm_1.normed_NC.options());
  Product(pass->qkv_NQ, pass->norm_1.normed_NC, pass->qkv_weight);
  AddBias(layer.attention_in, pass->qkv_NQ);
  const auto third = [&](const Tensor& qkv_BT3HD, std::int64_t i) { return qkv_BT3HD.select(2, i).transpose(1, 2); };
  const auto inputs_of = [&](const Tensor& qkv_NQ) {
    const Tensor qkv_BT3HD = qkv_NQ.view({batch_, tokens_, 3, heads, width});
    return kernels::AttentionInputs{third(qkv_BT3HD, 0), third(qkv_BT3HD, 1), third(qkv_BT3HD, 2),
                                    1.0 / std::sqrt(static_cast<double>(width)), true,
                                    at::globalContext().deterministicAlgorithms()};
  };
  kernels::AttentionInputs& inputs = pass->attention_inputs;
  inputs = inputs_of(pass->qkv_NQ);
  // Attention stays in the parameters' type, except on a GPU that has a kernel for the narrow one.
  const bool narrow = pass->qkv_NQ.is_cuda() && kernels::FindAttentionBackend("", inputs) != nullptr;
  if (!narrow) inputs = inputs_of(pass->qkv_NQ.to(model_->dtype));
  {
    const torch::AutoGradMode with_graph(differentiates_);
    pass->query_scale_HT = model_->QueryScale(layer, tokens_);
  }
  if (pass->query_scale_HT.defined()) {
    Tensor scaled_BTHD = Sized(&pass->scaled_q_BTHD, {batch_, tokens_, heads, width}, inputs.q_BHTD.options());
    Tensor scaled_BHTD = scaled_BTHD.transpose(1, 2);
    at::mul_out(scaled_BHTD, inputs.q_BHTD, pass->query_scale_HT.detach().unsqueeze(2).to(inputs.q_BHTD.scalar_type()));
    inputs.q_BHTD = scaled_BHTD;
  }
  Sized(&pass->attention_NC, {rows, heads * width}, inputs.q_BHTD.options());
  kernels::AttentionOutputs& outputs = pass->attention_outputs;
  outputs.out_BHTD = pass->attention_NC.view({batch_, tokens_, heads, width}).transpose(1, 2);
  outputs.entropy_BHT = measures_entropy_ ? entropy_LBHT_.select(0, index) : Tensor();
  outputs.row_max_BHT = Sized(&pass->row_max_BHT, {batch_, heads, tokens_}, stream_options);
  outputs.log_sum_BHT = Sized(&pass->log_sum_BHT, {batch_, heads, tokens_}, stream_options);
  outputs.max_abs_score_BH = max_abs_score_LBH_.select(0, index);
  const kernels::AttentionBackend* backend = kernels::FindAttentionBackend("", inputs);
  TORCH_CHECK(backend != nullptr, "no attention back end for ", inputs.q_BHTD.scalar_type());
  RECORD_FUNCTION("entrain::attention", {});
  backend->forward(inputs, outputs);
}

Tensor ExplicitStep::BackwardAttention(std::int64_t index, Layer& layer, LayerPass* pass, const Tensor& d_out_NC) {
  const std::int64_t heads = model_->config.n_head, width = model_->config.HeadWidth();
  const kernels::AttentionInputs& inputs = pass->attention_inputs;
  const torch::Dtype dtype = inputs.q_BHTD.scalar_type();
  Sized(&d_qkv_NQ_, {batch_ * tokens_, 3 * heads * width}, inputs.q_BHTD.options());
  const Tensor d_qkv_BT3HD = d_qkv_NQ_.view({batch_, tokens_, 3, heads, width});
  const auto third = [&](std::int64_t i) { return d_qkv_BT3HD.select(2, i).transpose(1, 2); };
  kernels::AttentionInputGradients gradients{third(0), third(1), third(2)};
  kernels::AttentionOutputGradients output_gradients;
  output_gradients.d_out_BHTD = d_out_NC.to(dtype).view({batch_, tokens_, heads, width}).transpose(1, 2);
  if (d_entropy_LBHT_.defined()) output_gradients.d_entropy_BHT = d_entropy_LBHT_.select(0, index);
  {
    RECORD_FUNCTION("entrain::attention_gradient", {});
    kernels::FindAttentionBackend("", inputs)->backward(inputs, pass->attention_outputs, output_gradients, gradients);
  }
  if (pass->query_scale_HT.defined()) {
    const Tensor query_scale_HT = pass->query_scale_HT.detach();
    const Tensor q_BHTD = pass->qkv_NQ.view({batch_, tokens_, 3, heads, width}).select(2, 0).transpose(1, 2);
    const Tensor d_scale_HT = (q_BHTD.to(model_->dtype) * gradients.dq_BHTD).sum(at::IntArrayRef({0, 3}));
    gradients.dq_BHTD.mul_(query_scale_HT.unsqueeze(2));
    const auto d_temperature =
        torch::autograd::grad({std::exchange(pass->query_scale_HT, Tensor())}, {layer.temperature_HP}, {d_scale_HT});
    PutGradient(layer.temperature_HP, d_temperature[0], backward_.accumulate);
  }
  const Tensor d_qkv_NQ = InArithmetic(d_qkv_NQ_);
  BackwardBias(layer.attention_in, d_qkv_NQ);
  layer.attention_in.WeightGradient(pass->norm_1.normed_NC, d_qkv_NQ, backward_.accumulate);
  Product(Sized(&d_normed_NC_, d_delta_NC_.sizes(), d_qkv_NQ.options()), d_qkv_NQ, pass->qkv_weight.t());
  return d_normed_NC_;
}

Tensor ExplicitStep::SlopeOf(const Layer& layer) const {
  switch (layer.config.leaky_mode) {
    case domain::LeakyMode::kLayer: return layer.slope;
    case domain::LeakyMode::kGlobal: return model_->global_slope;
    case domain::LeakyMode::kFixed: break;
  }
  return at::full({1}, layer.config.leaky_slope, model_->token_table_VC.options().requires_grad(false));
}

kernels::BiasActivation ExplicitStep::Activation(const Layer& layer, const LayerPass& pass) const {
  kernels::BiasActivation call;
  call.kind = KindOf(layer.config.activation);
  call.x_NF = pass.hidden_NF;
  call.bias_F = layer.ffn_in.BiasWithoutGraph();
  if (call.kind == ActivationKind::kLeakyRelu) call.slope = Detached(SlopeOf(layer));
  call.y_NF = pass.active_NF;
  const bool smooth = call.kind == ActivationKind::kGeluErf || call.kind == ActivationKind::kGeluTanh;
  const bool keeps = smooth && differentiates_ && kernels_->keeps_derivative && mode_.arithmetic == torch::kFloat32;
  if (keeps) call.derivative_NF = pass.hidden_NF;
  return call;
}

ExplicitStep::Stream ExplicitStep::ForwardFeedForward(Layer& layer, LayerPass* pass) {
  const Tensor& normed_NC = pass->norm_2.normed_NC;
  Tensor input = normed_NC;
  const bool two = layer.config.ffn == domain::Ffn::kTwo;
  if (two) {
    pass->ffn_in_weight = layer.ffn_in.WeightWithoutGraph(mode_);
    const std::int64_t inner = pass->ffn_in_weight.size(1);
    Product(Sized(&pass->hidden_NF, {normed_NC.size(0), inner}, normed_NC.options()), normed_NC, pass->ffn_in_weight);
    input = Sized(&pass->active_NF, {normed_NC.size(0), inner}, normed_NC.options());
    kernels_->bias_activation(Activation(layer, *pass));
  }
  Linear& last = two ? layer.ffn_out : layer.ffn_in;
  pass->ffn_out_weight = last.WeightWithoutGraph(mode_);
  Product(Sized(&pass->ffn_delta_NC, normed_NC.sizes(), normed_NC.options()), input, pass->ffn_out_weight);
  if (!layer.config.ffn_scale) return {pass->norm_2.sum_NC, pass->ffn_delta_NC, &last};
  AddBias(last, pass->ffn_delta_NC);
  Tensor sum_NC = Sized(&pass->scaled_sum_NC, pass->norm_2.sum_NC.sizes(), pass->norm_2.sum_NC.options());
  at::mul_out(sum_NC, pass->norm_2.sum_NC, layer.beta.detach());
  sum_NC.addcdiv_(pass->ffn_delta_NC.to(sum_NC.scalar_type()), layer.alpha.detach());
  return {sum_NC, {}, nullptr};
}

Tensor ExplicitStep::BackwardScaling(Layer& layer, LayerPass* pass) {
  const Tensor alpha = layer.alpha.detach(), beta = layer.beta.detach();
  if (layer.alpha.requires_grad()) {
    const Tensor d_alpha = -(d_sum_NC_ * pass->ffn_delta_NC.to(d_sum_NC_.scalar_type())).sum() / alpha.square();
    PutGradient(layer.alpha, d_alpha.view({1}), backward_.accumulate);
    PutGradient(layer.beta, (d_sum_NC_ * pass->norm_2.sum_NC).sum().view({1}), backward_.accumulate);
  }
  const Tensor d_ffn_NC = InArithmetic(d_sum_NC_ / alpha);
  d_sum_NC_.mul_(beta);
  return d_ffn_NC;
}

// d_sum_NC_ is the gradient of the layer's output. Returns that of the normed input of the feed-forward part.
Tensor ExplicitStep::BackwardFeedForward(Layer& layer, LayerPass* pass) {
  const bool two = layer.config.ffn == domain::Ffn::kTwo;
  Linear& last = two ? layer.ffn_out : layer.ffn_in;
  Tensor d_y_NC = d_delta_NC_;
  if (layer.config.ffn_scale) {
    d_y_NC = BackwardScaling(layer, pass);
    BackwardBias(last, d_y_NC);
  }
  last.WeightGradient(two ? pass->active_NF : pass->norm_2.normed_NC, d_y_NC, backward_.accumulate);
  Sized(&d_normed_NC_, d_y_NC.sizes(), d_y_NC.options());
  if (!two) {
    Product(d_normed_NC_, d_y_NC, pass->ffn_out_weight.t());
    return d_normed_NC_;
  }
  Product(Sized(&d_active_NF_, pass->active_NF.sizes(), pass->active_NF.options()), d_y_NC, pass->ffn_out_weight.t());
  BackwardActivation(layer, pass, d_active_NF_);
  layer.ffn_in.WeightGradient(pass->norm_2.normed_NC, d_active_NF_, backward_.accumulate);
  Product(d_normed_NC_, d_active_NF_, pass->ffn_in_weight.t());
  return d_normed_NC_;
}

// In place: d_active becomes the gradient of the hidden values.
void ExplicitStep::BackwardActivation(Layer& layer, LayerPass* pass, const Tensor& d_active_NF) {
  const kernels::BiasActivation forward = Activation(layer, *pass);
  kernels::BiasActivationGradient call{forward.kind, forward.x_NF, forward.bias_F, forward.slope, d_active_NF, d_active_NF,
                                       layer.ffn_in.BiasGradient(), {}, backward_.accumulate, forward.derivative_NF};
  const bool learns_slope = call.kind == ActivationKind::kLeakyRelu && layer.config.leaky_mode != domain::LeakyMode::kFixed;
  const bool shared = learns_slope && layer.config.leaky_mode == domain::LeakyMode::kGlobal;
  Tensor d_slope;
  if (learns_slope) call.d_slope = d_slope = at::zeros({1}, model_->token_table_VC.options().requires_grad(false));
  kernels_->bias_activation_gradient(call);
  layer.ffn_in.BiasGradientIsComplete();
  if (!learns_slope) return;
  if (!shared) return PutGradient(layer.slope, d_slope, backward_.accumulate);
  const bool add = backward_.accumulate || std::exchange(slope_is_started_, true);
  add ? model_->global_slope.grad().add_(d_slope) : model_->global_slope.grad().copy_(d_slope);
}

Tensor ExplicitStep::Head(const Tensor& labels_N) {
  const std::int64_t rows = labels_N.numel(), vocabulary = model_->config.vocab_size;
  const std::int64_t columns = (vocabulary + kLogitAlignment - 1) / kLogitAlignment * kLogitAlignment;
  const auto statistics = embedded_NC_.options();
  const Tensor& copy = model_->token_table_copy_VC;
  const bool copied = copy.defined() && copy.scalar_type() == mode_.arithmetic;
  const Tensor table_VC = copied ? copy : InArithmetic(model_->token_table_VC.detach());
  const Tensor final_NC = final_pass_.normed_NC;
  const std::int64_t bytes = final_NC.is_cuda() ? kLogitBytesOnGpu : kLogitBytesOnCpu;
  const std::int64_t fitting = std::max<std::int64_t>(64, bytes / (columns * static_cast<std::int64_t>(final_NC.element_size())));
  const std::int64_t blocks = (rows + fitting - 1) / fitting, block = (rows + blocks - 1) / blocks;
  Sized(&logits_, {block, columns}, final_NC.options());
  Sized(&loss_N_, {rows}, statistics);
  if (differentiates_) Sized(&d_final_NC_, final_NC.sizes(), final_NC.options());
  const Tensor row_share = labels_N.ge(0).sum().to(statistics.dtype()).reciprocal();
  const Tensor row_weight = backward_.loss_scale == 1.0 ? row_share : row_share * backward_.loss_scale;
  for (std::int64_t begin = 0; begin < rows; begin += block) {
    const std::int64_t count = std::min(block, rows - begin);
    const Tensor logits = logits_.narrow(0, 0, count), counted = logits.narrow(1, 0, vocabulary);
    const Tensor final_block = final_NC.narrow(0, begin, count);
    Product(counted, final_block, table_VC.t());
    kernels_->cross_entropy(
        {logits, labels_N.narrow(0, begin, count), vocabulary, loss_N_.narrow(0, begin, count), differentiates_, row_weight});
    if (!differentiates_) continue;
    Product(d_final_NC_.narrow(0, begin, count), counted, table_VC);
    ProductInto(model_->token_table_VC.grad(), counted.t(), final_block, backward_.accumulate || begin > 0);
  }
  return loss_N_.sum() * row_share;
}

}  // namespace entrain::model
