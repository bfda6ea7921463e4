#include "sweep/run_fields.h"

#include <charconv>

namespace entrain::sweep {
namespace {

using domain::Activation;
using domain::Bias;
using domain::DecayRule;
using domain::Ffn;
using domain::LayerConfig;
using domain::LeakyMode;
using domain::LinearName;
using domain::LrSchedule;
using domain::ModelConfig;
using domain::Norm;
using domain::Precision;
using domain::Regulariser;
using domain::Reparam;
using domain::Resources;
using domain::Temperature;
using domain::TrainConfig;

constexpr std::int64_t kMaxLayers = 1024;

const Names<LinearName>& LinearNames() {
  static const Names<LinearName> names = {{"q", LinearName::kQ},          {"k", LinearName::kK},
                                          {"v", LinearName::kV},          {"o", LinearName::kO},
                                          {"ffn_in", LinearName::kFfnIn}, {"ffn_out", LinearName::kFfnOut}};
  return names;
}

// The paper names sets of linears; a group stands for its members.
const std::vector<std::pair<std::string, std::vector<std::string>>>& LinearGroups() {
  static const std::vector<std::pair<std::string, std::vector<std::string>>> groups = {
      {"qk", {"q", "k"}}, {"qkv", {"q", "k", "v"}}, {"qkvo", {"q", "k", "v", "o"}}, {"ffn", {"ffn_in", "ffn_out"}}};
  return groups;
}

void InsertLinear(const std::string& name, std::set<LinearName>* targets) {
  for (const auto& [group, members] : LinearGroups()) {
    if (group != name) continue;
    for (const std::string& member : members) InsertLinear(member, targets);
  }
  for (const auto& [text, value] : LinearNames()) {
    if (text == name) targets->insert(value);
  }
}

Field<LayerConfig> TargetsField() {
  Field<LayerConfig> field{
      {"reparam_targets",
       FieldKind::kChoices,
       "Linears that `reparam` acts on: single ones (q, k, v, o, ffn_in, ffn_out) or the paper's groups "
       "(qk, qkv, qkvo, ffn). With `ffn: fused` the group ffn is ffn_in.",
       {},
       {}},
      {},
      {}};
  for (const auto& [text, value] : LinearNames()) field.choices.push_back(text);
  for (const auto& [text, members] : LinearGroups()) field.choices.push_back(text);
  field.get = [](const LayerConfig& layer) {
    std::vector<std::string> targets;
    for (const auto& [text, value] : LinearNames()) {
      if (layer.reparam_targets.contains(value)) targets.push_back(text);
    }
    return Value(targets);
  };
  field.set = [](LayerConfig& layer, const Value& value) {
    layer.reparam_targets.clear();
    for (const std::string& name : std::get<std::vector<std::string>>(value)) {
      InsertLinear(name, &layer.reparam_targets);
    }
  };
  return field;
}

std::vector<Field<LayerConfig>> MakeLayerFields() {
  return {
      Choice<LayerConfig, Norm>("norm", &LayerConfig::norm, {{"layernorm", Norm::kLayerNorm}, {"none", Norm::kNone}},
                                "The two normalisations of a block (pre-LN)."),
      Choice<LayerConfig, Activation>(
          "activation", &LayerConfig::activation,
          {{"gelu", Activation::kGelu},
           {"gelu_new", Activation::kGeluNew},
           {"relu", Activation::kRelu},
           {"identity", Activation::kIdentity},
           {"leaky_relu", Activation::kLeakyRelu}},
          "The FFN's activation. `gelu` is the erf form, `gelu_new` the tanh form of GPT-2."),
      Choice<LayerConfig, LeakyMode>(
          "leaky_mode", &LayerConfig::leaky_mode,
          {{"fixed", LeakyMode::kFixed}, {"per_layer", LeakyMode::kLayer}, {"global", LeakyMode::kGlobal}},
          "Slope of `leaky_relu`: a constant, one learnable value a layer, or one learnable value for the network."),
      Number("leaky_slope", &LayerConfig::leaky_slope, Any(), "The slope, or its initial value when it is learnable."),
      Choice<LayerConfig, Bias>(
          "bias", &LayerConfig::bias, {{"all", Bias::kAll}, {"qk", Bias::kQk}, {"none", Bias::kNone}},
          "Which linears have a bias: all (GPT-2), query and key only (the authors' norm-free code), none."),
      Choice<LayerConfig, Ffn>(
          "ffn", &LayerConfig::ffn, {{"two", Ffn::kTwo}, {"fused", Ffn::kFused}},
          "Two linears with an activation, or one d x d linear without (ScFuFFN with `ffn_scale`)."),
      Bool("ffn_scale", &LayerConfig::ffn_scale, "X_out = beta * A + FFN(A) / alpha, one alpha and beta a layer."),
      Bool("ffn_scale_learnable", &LayerConfig::ffn_scale_learnable,
           "Train alpha and beta, or keep their initial values."),
      Number("alpha_init", &LayerConfig::alpha_init, Any(), "Initial alpha of `ffn_scale`; not 0."),
      Number("beta_init", &LayerConfig::beta_init, Any(), "Initial beta of `ffn_scale`."),
      Choice<LayerConfig, Reparam>(
          "reparam", &LayerConfig::reparam,
          {{"none", Reparam::kNone}, {"weight_norm", Reparam::kWeightNorm}, {"spectral_norm", Reparam::kSpectralNorm}},
          "Reparametrisation of the linears in `reparam_targets`."),
      TargetsField(),
      Choice<LayerConfig, Temperature>(
          "temperature", &LayerConfig::temperature,
          {{"none", Temperature::kNone}, {"divide", Temperature::kDivide}, {"multiply", Temperature::kMultiply}},
          "Learnable temperature t per head and query position, SM(t): scores / t, or scores * t."),
      Number("temperature_init", &LayerConfig::temperature_init, Any(), "Initial t; not 0 when it divides."),
      Number("theta_init", &LayerConfig::theta_init, Any(),
             "Initial entropy threshold of every head, a fraction of E_max."),
  };
}

std::vector<Field<ModelConfig>> MakeModelFields() {
  return {
      Integer("vocab_size", &ModelConfig::vocab_size, Between(1, 1 << 24),
              "Size of the vocabulary; in a sweep the data's by default."),
      Integer("n_positions", &ModelConfig::n_positions, Between(1, 1 << 22),
              "Rows of the position table; in a sweep `train.context` by default."),
      Integer("n_layer", &ModelConfig::n_layer, Between(1, kMaxLayers), "Layers (L)."),
      Integer("n_head", &ModelConfig::n_head, Between(1, 4096), "Heads of every layer (H); divides n_embd."),
      Integer("n_embd", &ModelConfig::n_embd, Between(1, 65536), "Width (d)."),
      Integer("n_inner", &ModelConfig::n_inner, Between(0, 1 << 20), "Hidden width of the FFN; 0 is 4 * n_embd."),
      Bool("final_norm", &ModelConfig::final_norm,
           "LayerNorm before the output projection; norm-free variants keep it."),
      Number("ln_eps", &ModelConfig::ln_eps, Above(0), "Epsilon inside the root of LayerNorm."),
      Number("init_std", &ModelConfig::init_std, AtLeast(0), "Standard deviation of the initial weights."),
      Choice<ModelConfig, Regulariser>(
          "reg", &ModelConfig::reg,
          {{"none", Regulariser::kNone},
           {"mean", Regulariser::kMean},
           {"mean_seq", Regulariser::kMeanSeq},
           {"sum", Regulariser::kSum},
           {"authors", Regulariser::kAuthors}},
          "Entropy regulariser: the paper's algorithm (mean), the same per sequence (mean_seq), the "
          "paper's listing (sum), the authors' code (authors). Their lambdas are not comparable."),
      Number("reg_lambda", &ModelConfig::reg_lambda, AtLeast(0),
             "Total loss = cross-entropy + reg_lambda * regulariser."),
      Number("reg_gamma", &ModelConfig::reg_gamma, AtLeast(0),
             "Tolerance band around the threshold, a fraction of E_max."),
      Bool("theta_learnable", &ModelConfig::theta_learnable, "Train the thresholds theta."),
      Number("reg_eps", &ModelConfig::reg_eps, AtLeast(0),
             "Epsilon inside the logarithm of the sum and authors forms."),
      Integer("emax_context", &ModelConfig::emax_context, Between(0, 1 << 22),
              "E_max = ln(emax_context); 0: ln(context)."),
  };
}

std::vector<Field<TrainConfig>> MakeTrainFields() {
  return {
      Integer("steps", &TrainConfig::steps, Between(1, 1e9), "Optimiser steps of the whole run."),
      Integer("batch_size", &TrainConfig::batch_size, Between(1, 1 << 20),
              "Sequences of one micro-batch over all ranks; a multiple of the gang's ranks."),
      Integer("accumulation", &TrainConfig::accumulation, Between(1, 65536), "Micro-batches summed into one step."),
      Integer("context", &TrainConfig::context, Between(1, 1 << 22), "Tokens of one sequence (T)."),
      Number("lr", &TrainConfig::lr, Above(0), "Highest learning rate (AdamW)."),
      Number("beta1", &TrainConfig::beta1, FromTo(0, 1), "AdamW's first decay."),
      Number("beta2", &TrainConfig::beta2, FromTo(0, 1), "AdamW's second decay."),
      Number("eps", &TrainConfig::eps, Above(0), "AdamW's epsilon."),
      Number("weight_decay", &TrainConfig::weight_decay, AtLeast(0), "Decoupled weight decay."),
      Number("clip", &TrainConfig::clip, AtLeast(0), "Largest global L2 norm of the gradient; 0 does not clip."),
      Choice<TrainConfig, DecayRule>(
          "decay_rule", &TrainConfig::decay_rule, {{"hf", DecayRule::kHf}, {"linear", DecayRule::kLinear}},
          "What decays: all but biases and LayerNorm gains (hf), or weight matrices and embeddings only."),
      Choice<TrainConfig, LrSchedule>(
          "schedule", &TrainConfig::schedule,
          {{"constant", LrSchedule::kConstant}, {"linear", LrSchedule::kLinear}, {"cosine", LrSchedule::kCosine}},
          "The learning rate after the warm-up."),
      Integer("warmup_steps", &TrainConfig::warmup_steps, Between(0, 1e9), "Steps of linear warm-up."),
      Number("final_lr_fraction", &TrainConfig::final_lr_fraction, Between(0, 1),
             "The rate at the last step, a fraction of lr."),
      Choice<TrainConfig, Precision>(
          "precision", &TrainConfig::precision,
          {{"fp32", Precision::kFp32}, {"bf16", Precision::kBf16}, {"fp16", Precision::kFp16}},
          "Arithmetic of the forward and backward pass."),
      Seed("seed", &TrainConfig::seed, "Seed of the initialisation and the data order."),
      Integer("eval_interval_steps", &TrainConfig::eval_interval_steps, Between(0, 1e9),
              "Held-out evaluation every so many steps and at the end; 0: only at the end."),
      Integer("eval_batches", &TrainConfig::eval_batches, Between(1, 1 << 20), "Batches of one evaluation."),
      Integer("checkpoint_interval_steps", &TrainConfig::checkpoint_interval_steps, Between(0, 1e9),
              "A checkpoint every so many steps and at the end; 0: only at the end."),
      Text("init_from", &TrainConfig::init_from,
           "Folder of a Hugging Face GPT-2 checkpoint in the artifact root to start from; empty: fresh weights."),
  };
}

}  // namespace

const std::vector<Field<LayerConfig>>& LayerFields() {
  static const auto fields = MakeLayerFields();
  return fields;
}

const std::vector<Field<ModelConfig>>& ModelFields() {
  static const auto fields = MakeModelFields();
  return fields;
}

const std::vector<Field<TrainConfig>>& TrainFields() {
  static const auto fields = MakeTrainFields();
  return fields;
}

const std::vector<Field<Resources>>& ResourceFields() {
  static const std::vector<Field<Resources>> fields = {
      Integer("machines", &Resources::machines, Between(1, 4096), "Machines of one gang."),
      Integer("ranks_per_machine", &Resources::ranks_per_machine, Between(1, 1024),
              "Ranks on each of them, one slot a rank."),
      Integer("threads_per_rank", &Resources::threads_per_rank, Between(1, 1024), "Threads of one rank on a CPU."),
  };
  return fields;
}

const std::vector<Field<domain::RetryLimits>>& RetryFields() {
  static const std::vector<Field<domain::RetryLimits>> fields = {
      Integer("max_failures", &domain::RetryLimits::max_failures, Between(0, 1000),
              "Launches after failures that may be the run's own; lost machines do not count."),
      Bool("out_of_memory", &domain::RetryLimits::out_of_memory,
           "Whether running out of memory is retried like a crash; by default it is not, since the same run needs the same memory."),
  };
  return fields;
}

const std::vector<Field<domain::RunLimits>>& LimitFields() {
  static const std::vector<Field<domain::RunLimits>> fields = {
      Integer("max_duration_s", &domain::RunLimits::max_duration_s, Between(0, 1e9),
              "Seconds that the run's gangs may be up, over all attempts; then it is stopped at a checkpoint and has failed. 0: no limit."),
      Integer("stall_limit_s", &domain::RunLimits::stall_limit_s, Between(0, 1e9),
              "Seconds without a sample after which an attempt is ended and retried as `stalled`. 0: no limit."),
  };
  return fields;
}

void NarrowReparamTargets(LayerConfig* layer) {
  const bool whole_ffn =
      layer->reparam_targets.contains(LinearName::kFfnIn) && layer->reparam_targets.contains(LinearName::kFfnOut);
  if (layer->ffn == Ffn::kFused && whole_ffn) layer->reparam_targets.erase(LinearName::kFfnOut);
}

std::vector<std::int64_t> ParseLayerRange(std::string_view text) {
  const auto number = [](std::string_view digits) -> std::int64_t {
    std::int64_t value = -1;
    const auto end = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    const bool whole = end.ec == std::errc() && end.ptr == digits.data() + digits.size();
    return whole && value >= 0 && value < kMaxLayers ? value : -1;
  };
  const std::size_t dash = text.find('-');
  const std::int64_t first = number(text.substr(0, dash));
  const std::int64_t last = dash == std::string_view::npos ? first : number(text.substr(dash + 1));
  std::vector<std::int64_t> layers;
  for (std::int64_t layer = first; first >= 0 && layer <= last; ++layer) layers.push_back(layer);
  return layers;
}

}  // namespace entrain::sweep
