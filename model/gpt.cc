#include "model/gpt.h"

#include <map>
#include <utility>

#include "base/check.h"
#include "base/strings.h"
#include "model/gpt_impl.h"
#include "model/initialisation.h"
#include "model/kernels/entropy_attention.h"
#include "model/regulariser.h"

namespace entrain::model {
namespace {

using domain::Activation;
using domain::Bias;
using domain::LayerConfig;
using domain::LeakyMode;
using domain::LinearName;
using domain::ModelConfig;
using domain::Norm;
using domain::Reparam;
using domain::Temperature;
using torch::Tensor;

Tensor Filled(at::IntArrayRef shape, double value, torch::Dtype dtype, bool trainable = true) {
  return at::full(shape, value, at::TensorOptions().dtype(dtype)).set_requires_grad(trainable);
}

bool IsTarget(const LayerConfig& layer, LinearName name) {
  return layer.reparam != Reparam::kNone && layer.reparam_targets.contains(name);
}

}  // namespace

Gpt::Impl::Impl(const ModelConfig& model_config, std::uint64_t model_seed, torch::Dtype model_dtype)
    : config(model_config), seed(model_seed), dtype(model_dtype), explicit_step(this), evaluation_step(this) {
  const auto table = [&](const std::string& name, std::int64_t rows) {
    Tensor values = SeededNormal({rows, config.n_embd}, config.init_std, seed, name, dtype).set_requires_grad(true);
    parameters.emplace_back(name, values);
    return values;
  };
  token_table_VC = table("transformer.wte.weight", config.vocab_size);
  position_table_PC = table("transformer.wpe.weight", config.n_positions);
  for (std::int64_t index = 0; index < config.n_layer; ++index) {
    layers.push_back(MakeLayer(index));
    NameLayer(index);
    const LayerConfig& layer = layers.back().config;
    const bool activated = layer.ffn == domain::Ffn::kTwo && layer.activation == Activation::kLeakyRelu;
    if (activated && layer.leaky_mode == LeakyMode::kGlobal && !global_slope.defined()) {
      global_slope = Filled({1}, layer.leaky_slope, dtype);
    }
  }
  if (config.final_norm) {
    final_norm = MakeNorm();
    NameNorm("transformer.ln_f", final_norm);
  }
  if (global_slope.defined()) parameters.emplace_back("transformer.lrelu_slope", global_slope);
}

LayerNorm Gpt::Impl::MakeNorm() const { return {Filled({config.n_embd}, 1.0, dtype), Filled({config.n_embd}, 0.0, dtype)}; }

Linear Gpt::Impl::MakeLinear(const LayerConfig& layer, const std::string& name, std::int64_t in,
                             std::vector<ColumnBlock> blocks, bool bias, std::int64_t frozen_bias_from) const {
  return Linear({name, in, std::move(blocks), bias, frozen_bias_from, layer.reparam}, config.init_std, seed, dtype);
}

Layer Gpt::Impl::MakeLayer(std::int64_t index) const {
  Layer layer;
  layer.config = config.Layer(index);
  const LayerConfig& c = layer.config;
  const std::string prefix = StrCat("transformer.h.", index, ".");
  const std::int64_t d = config.n_embd;
  const auto block = [&](std::int64_t width, LinearName name) { return ColumnBlock{width, IsTarget(c, name)}; };
  if (c.norm == Norm::kLayerNorm) {
    layer.norm_1 = MakeNorm();
    layer.norm_2 = MakeNorm();
  }
  layer.attention_in =
      MakeLinear(c, prefix + "attn.c_attn", d, {block(d, LinearName::kQ), block(d, LinearName::kK), block(d, LinearName::kV)},
                 c.bias != Bias::kNone, c.bias == Bias::kQk ? 2 * d : -1);
  const bool bias = c.bias == Bias::kAll;
  layer.attention_out = MakeLinear(c, prefix + "attn.c_proj", d, {block(d, LinearName::kO)}, bias);
  if (c.ffn == domain::Ffn::kTwo) {
    const std::int64_t inner = config.InnerWidth();
    layer.ffn_in = MakeLinear(c, prefix + "mlp.c_fc", d, {block(inner, LinearName::kFfnIn)}, bias);
    layer.ffn_out = MakeLinear(c, prefix + "mlp.c_proj", inner, {block(d, LinearName::kFfnOut)}, bias);
  } else {
    layer.ffn_in = MakeLinear(c, prefix + "mlp.c_ffn", d, {block(d, LinearName::kFfnIn)}, bias);
  }
  if (c.temperature != Temperature::kNone) {
    layer.temperature_HP = Filled({config.n_head, config.n_positions}, c.temperature_init, dtype);
  }
  if (config.reg != domain::Regulariser::kNone) {
    layer.theta_H = Filled({config.n_head}, c.theta_init, dtype, config.theta_learnable);
  }
  if (c.ffn_scale) {
    layer.alpha = Filled({1}, c.alpha_init, dtype, c.ffn_scale_learnable);
    layer.beta = Filled({1}, c.beta_init, dtype, c.ffn_scale_learnable);
  }
  if (c.activation == Activation::kLeakyRelu && c.leaky_mode == LeakyMode::kLayer && c.ffn == domain::Ffn::kTwo) {
    layer.slope = Filled({1}, c.leaky_slope, dtype);
  }
  return layer;
}

void Gpt::Impl::NameTrainable(const std::string& name, const Tensor& tensor) {
  if (tensor.defined()) (tensor.requires_grad() ? parameters : state).emplace_back(name, tensor);
}

void Gpt::Impl::NameNorm(const std::string& name, const LayerNorm& norm) {
  if (!norm.gain.defined()) return;
  parameters.emplace_back(name + ".weight", norm.gain);
  parameters.emplace_back(name + ".bias", norm.shift);
}

void Gpt::Impl::NameLayer(std::int64_t index) {
  const Layer& layer = layers[static_cast<std::size_t>(index)];
  const std::string prefix = StrCat("transformer.h.", index, ".");
  NameNorm(prefix + "ln_1", layer.norm_1);
  layer.attention_in.AppendParameters(&parameters);
  layer.attention_out.AppendParameters(&parameters);
  NameTrainable(prefix + "attn.temperature", layer.temperature_HP);
  NameTrainable(prefix + "attn.reg_threshold_weights", layer.theta_H);
  NameNorm(prefix + "ln_2", layer.norm_2);
  layer.ffn_in.AppendParameters(&parameters);
  if (layer.config.ffn == domain::Ffn::kTwo) layer.ffn_out.AppendParameters(&parameters);
  NameTrainable(prefix + "mlp.alpha", layer.alpha);
  NameTrainable(prefix + "mlp.beta", layer.beta);
  NameTrainable(prefix + "mlp.act.slope", layer.slope);
  for (const Linear* linear : {&layer.attention_in, &layer.attention_out, &layer.ffn_in, &layer.ffn_out}) {
    linear->AppendState(&state);
  }
}

// Replaces the data behind every handle: layers and names share their tensors.
void Gpt::Impl::MoveTo(torch::Device device) {
  for (NamedTensors* tensors : {&parameters, &state}) {
    for (auto& [name, tensor] : *tensors) tensor.set_data(tensor.detach().to(device));
  }
  for (Layer& layer : layers) {
    for (Linear* linear : layer.Linears()) {
      linear->MoveConstants(device);
    }
  }
}

Tensor Gpt::Impl::Normed(const Tensor& x, const LayerNorm& norm) const {
  return norm.gain.defined() ? at::layer_norm(x, {config.n_embd}, norm.gain, norm.shift, config.ln_eps) : x;
}

Tensor Gpt::Impl::Activated(const Tensor& x, const Layer& layer) const {
  switch (layer.config.activation) {
    case Activation::kGelu:
      return at::gelu(x);
    case Activation::kGeluNew:
      return at::gelu(x, "tanh");
    case Activation::kRelu:
      return at::relu(x);
    case Activation::kIdentity:
      return x;
    case Activation::kLeakyRelu:
      if (layer.config.leaky_mode == LeakyMode::kFixed) return at::leaky_relu(x, layer.config.leaky_slope);
      return at::prelu(x, (layer.config.leaky_mode == LeakyMode::kLayer ? layer.slope : global_slope).to(x.scalar_type()));
  }
  ENTRAIN_CHECK(false);
}

// What multiplies the scores of query i of head h, or nothing.
Tensor Gpt::Impl::QueryScale(const Layer& layer, std::int64_t context) const {
  if (!layer.temperature_HP.defined()) return {};
  const Tensor temperature_HT = layer.temperature_HP.narrow(1, 0, context);
  return layer.config.temperature == Temperature::kDivide ? temperature_HT.reciprocal() : temperature_HT;
}

Tensor Gpt::Impl::Attend(Layer& layer, const Tensor& x, std::int64_t batch, const ForwardOptions& options,
                         EntropyTrace* trace) {
  const std::int64_t tokens = x.size(0) / batch, d = config.n_embd;
  const Tensor qkv_BT3HD = layer.attention_in.Apply(Normed(x, layer.norm_1), ModeOf(options))
                               .to(dtype)
                               .view({batch, tokens, 3, config.n_head, config.HeadWidth()});
  const Tensor query_scale_HT = QueryScale(layer, tokens);
  kernels::AttentionOptions attention_options;
  attention_options.differentiable_entropy = EntropyNeedsGradient();
  const auto attention = kernels::EntropyAttentionPacked(qkv_BT3HD, query_scale_HT, attention_options);
  trace->entropy_BHT.push_back(attention.entropy_BHT);
  trace->max_abs_score_BH.push_back(attention.max_abs_score_BH);
  if (UsesEpsilonEntropy(config.reg) || options.keep_eps_entropy) {
    const torch::AutoGradMode grad_mode(at::GradMode::is_enabled() && UsesEpsilonEntropy(config.reg));
    Tensor q_BHTD = qkv_BT3HD.select(2, 0).transpose(1, 2);
    if (query_scale_HT.defined()) q_BHTD = q_BHTD * query_scale_HT.unsqueeze(2);
    const double scale = 1.0 / std::sqrt(static_cast<double>(config.HeadWidth()));
    trace->entropy_eps_BHT.push_back(
        kernels::EpsilonEntropy(q_BHTD, qkv_BT3HD.select(2, 1).transpose(1, 2), scale, config.reg_eps));
  }
  return layer.attention_out.ApplyOnto(x, attention.out.view({-1, d}), ModeOf(options));
}

Tensor Gpt::Impl::FeedForward(Layer& layer, const Tensor& x, const ForwardOptions& options) {
  const LinearMode mode = ModeOf(options);
  Tensor hidden = Normed(x, layer.norm_2);
  const bool two = layer.config.ffn == domain::Ffn::kTwo;
  if (two) hidden = Activated(layer.ffn_in.Apply(hidden, mode), layer);
  Linear& last = two ? layer.ffn_out : layer.ffn_in;
  if (!layer.config.ffn_scale) return last.ApplyOnto(x, hidden, mode);
  return layer.beta * x + last.Apply(hidden, mode).to(dtype) / layer.alpha;
}

Tensor Gpt::Impl::Thresholds() const {
  if (config.reg == domain::Regulariser::kNone) return {};
  std::vector<Tensor> rows;
  for (const Layer& layer : layers) rows.push_back(layer.theta_H);
  return at::stack(rows);
}

void Gpt::Impl::Measure(const EntropyMeasures& measures, std::int64_t context, const ForwardOptions& options,
                        ForwardOutput* output) const {
  const Tensor& entropy_LBHT = measures.entropy_LBHT;
  const Tensor& entropy_eps_LBHT = measures.entropy_eps_LBHT;
  const Tensor entropy_LH = entropy_LBHT.mean({1, 3});
  output->entropy_LH = entropy_LH.detach();
  output->max_abs_score_L = measures.max_abs_score_LBH.amax({1, 2});
  if (options.keep_query_entropy) output->entropy_LBHT = entropy_LBHT.detach();
  if (options.keep_eps_entropy) output->entropy_eps_LBHT = entropy_eps_LBHT.detach();
  if (config.reg == domain::Regulariser::kNone) {
    output->reg = at::zeros({}, entropy_LH.options().requires_grad(false));
    return;
  }
  RegulariserInputs inputs;
  inputs.theta_LH = Thresholds();
  inputs.gamma = config.reg_gamma;
  inputs.max_entropy_nats = MaxEntropyNats(config, context);
  inputs.entropy_eps_LBHT = entropy_eps_LBHT;
  if (config.reg == domain::Regulariser::kMeanSeq) inputs.entropy_LBH = entropy_LBHT.mean(3);
  if (config.reg == domain::Regulariser::kMean) {
    inputs.entropy_LH = entropy_LH;
    // The penalty sees the whole batch's entropy while the gradient flows through this rank's share of it, so that the average of the
    // ranks' gradients is the gradient of the whole.
    if (options.mean_over_ranks) inputs.entropy_LH = entropy_LH + (options.mean_over_ranks(entropy_LH.detach()) - entropy_LH.detach());
  }
  output->reg = RegulariserValue(config.reg, inputs);
  if (UsesEpsilonEntropy(config.reg)) output->reg = output->reg / options.batch_share;
}

Gpt::Gpt(const ModelConfig& config, std::uint64_t seed, torch::Dtype dtype, torch::Device device)
    : impl_(std::make_unique<Impl>(config, seed, dtype)) {
  if (!device.is_cpu()) impl_->MoveTo(device);
}

Gpt::~Gpt() = default;

ForwardOutput Gpt::Forward(const Tensor& tokens_BT, const Tensor& labels_BT, const ForwardOptions& options) {
  Impl& model = *impl_;
  const bool is_written_out = labels_BT.defined() && ExplicitStep::Supports(model.config, options);
  // An evaluation may come between a training step's passes.
  const bool evaluates = !options.backward && !at::GradMode::is_enabled();
  if (!evaluates) {
    model.backward = options.backward;
    model.explicit_is_pending = options.backward && is_written_out;
  }
  const std::int64_t batch = tokens_BT.size(0), context = tokens_BT.size(1);
  TORCH_CHECK(context <= model.config.n_positions, "a sequence of ", context, " tokens, but n_positions is ",
              model.config.n_positions);
  if (is_written_out && options.backward) return model.explicit_step.Forward(tokens_BT, labels_BT, options);
  if (is_written_out && evaluates) return model.evaluation_step.Forward(tokens_BT, labels_BT, options);
  Tensor x = (at::embedding(model.token_table_VC, tokens_BT) + model.position_table_PC.narrow(0, 0, context))
                 .view({batch * context, model.config.n_embd});
  EntropyTrace trace;
  for (Layer& layer : model.layers) {
    x = model.Attend(layer, x, batch, options, &trace);
    x = model.FeedForward(layer, x, options);
  }
  x = model.Normed(x, model.final_norm);
  const torch::Dtype arithmetic = model.ModeOf(options).arithmetic;
  const Tensor logits = at::mm(x.to(arithmetic), model.token_table_VC.to(arithmetic).t()).to(model.dtype);
  ForwardOutput output;
  model.Measure({at::stack(trace.entropy_BHT), trace.entropy_eps_BHT.empty() ? Tensor() : at::stack(trace.entropy_eps_BHT),
                 at::stack(trace.max_abs_score_BH)},
                context, options, &output);
  if (labels_BT.defined()) {
    output.ce = at::cross_entropy_loss(logits, labels_BT.reshape({-1}));
    const bool regularised = model.config.reg != domain::Regulariser::kNone;
    output.total = regularised ? output.ce + output.reg * model.config.reg_lambda : output.ce;
  }
  if (options.keep_logits) output.logits_BTV = logits.view({batch, context, model.config.vocab_size});
  return output;
}

void Gpt::Backward(const ForwardOutput& output) {
  Impl& model = *impl_;
  TORCH_CHECK(model.backward.has_value(), "Backward() follows a Forward() that was told so");
  if (std::exchange(model.explicit_is_pending, false)) return model.explicit_step.Backward();
  if (!model.backward->accumulate) {
    for (const auto& [name, parameter] : model.parameters) {
      if (parameter.grad().defined()) parameter.grad().zero_();
    }
  }
  const double scale = model.backward->loss_scale;
  (scale == 1.0 ? output.total : output.total * scale).backward();
}

void Gpt::UseComputeCopies(const NamedTensors& copies) {
  Impl& model = *impl_;
  const std::map<std::string, Tensor> by_name(copies.begin(), copies.end());
  const auto find = [&](const std::string& name) {
    const auto found = by_name.find(name);
    return found == by_name.end() ? Tensor() : found->second;
  };
  model.token_table_copy_VC = find("transformer.wte.weight");
  for (Layer& layer : model.layers) {
    for (Linear* linear : layer.Linears()) linear->UseComputeCopy(find(linear->weight_name()));
  }
}

const ModelConfig& Gpt::config() const { return impl_->config; }

const NamedTensors& Gpt::NamedParameters() const { return impl_->parameters; }

const NamedTensors& Gpt::NamedState() const { return impl_->state; }

void Gpt::Reparametrise() {
  for (Layer& layer : impl_->layers) {
    for (Linear* linear : layer.Linears()) linear->Reparametrise();
  }
}

Tensor Gpt::Theta() const { return impl_->Thresholds(); }

}  // namespace entrain::model
