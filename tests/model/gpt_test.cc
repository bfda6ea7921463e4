// The combinations that have no numerical case: finite differences in double precision, and identities.
#include "model/gpt.h"

#include <ATen/Parallel.h>

#include <cmath>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "model/initialisation.h"
#include "model/regulariser.h"

namespace entrain::model {
namespace {

using domain::LinearName;
using domain::ModelConfig;
using torch::Tensor;

constexpr std::int64_t kBatch = 3, kTokens = 7;

ModelConfig Small() {
  ModelConfig config;
  config.vocab_size = 11;
  config.n_positions = 8;
  config.n_layer = 2;
  config.n_head = 2;
  config.n_embd = 8;
  config.n_inner = 12;
  config.init_std = 0.4;
  config.reg_lambda = 0.3;
  config.reg_gamma = 0.0;
  return config;
}

ModelConfig NormFree() {
  ModelConfig config = Small();
  config.layer.norm = domain::Norm::kNone;
  config.layer.bias = domain::Bias::kQk;
  config.layer.activation = domain::Activation::kIdentity;
  return config;
}

std::map<std::string, ModelConfig> Combinations() {
  std::map<std::string, ModelConfig> all;
  all["ln_relu"] = Small();
  all["ln_relu"].layer.activation = domain::Activation::kRelu;
  all["ln_identity"] = Small();
  all["ln_identity"].layer.activation = domain::Activation::kIdentity;
  ModelConfig leaky = NormFree();
  leaky.layer.activation = domain::Activation::kLeakyRelu;
  leaky.layer.leaky_mode = domain::LeakyMode::kGlobal;
  leaky.layer.leaky_slope = 0.2;
  all["global_leaky"] = leaky;
  all["no_final_norm"] = NormFree();
  all["no_final_norm"].final_norm = false;
  all["no_biases"] = Small();
  all["no_biases"].layer.bias = domain::Bias::kNone;
  for (const auto reparam : {domain::Reparam::kWeightNorm, domain::Reparam::kSpectralNorm}) {
    const std::string name = reparam == domain::Reparam::kWeightNorm ? "weight_norm" : "spectral_norm";
    ModelConfig config = NormFree();
    config.layer.reparam = reparam;
    config.layer.reparam_targets = {LinearName::kQ, LinearName::kV, LinearName::kO, LinearName::kFfnIn, LinearName::kFfnOut};
    all[name + "_many"] = config;
    config.layer.ffn = domain::Ffn::kFused;
    config.layer.reparam_targets = {LinearName::kK, LinearName::kFfnIn};
    all[name + "_fused"] = config;
  }
  for (const auto form : {domain::Regulariser::kMean, domain::Regulariser::kMeanSeq, domain::Regulariser::kSum,
                          domain::Regulariser::kAuthors}) {
    ModelConfig config = NormFree();
    config.reg = form;
    config.layer.temperature = form == domain::Regulariser::kMean ? domain::Temperature::kMultiply : domain::Temperature::kDivide;
    config.layer.temperature_init = 0.7;
    config.layer.ffn_scale = true;
    config.layer.alpha_init = 1.5;
    config.emax_context = form == domain::Regulariser::kSum ? 64 : 0;
    all["reg_" + std::to_string(static_cast<int>(form))] = config;
  }
  all["frozen"] = all["reg_1"];
  all["frozen"].theta_learnable = false;
  all["frozen"].layer.ffn_scale_learnable = false;
  ModelConfig mixed = Small();
  mixed.n_layer = 3;
  mixed.reg = domain::Regulariser::kMean;
  mixed.layers[0] = NormFree().layer;
  mixed.layers[2] = all["weight_norm_fused"].layer;
  mixed.layers[2].ffn_scale = true;
  all["per_layer"] = mixed;
  return all;
}

Tensor Tokens(std::uint64_t seed = 1) {
  const Tensor x = SeededNormal({kBatch, kTokens}, 1000.0, seed, "tokens", torch::kFloat64);
  return x.to(torch::kInt64).abs().remainder(11);
}

// Random values everywhere, so that no gain is 1 and no bias 0; a positive shift keeps temperatures and scales away from 0.
void Perturb(Gpt& gpt) {
  const torch::NoGradGuard no_grad;
  for (const auto& [name, tensor] : gpt.NamedParameters()) {
    tensor.add_(SeededNormal(tensor.sizes(), 0.1, 5, name, tensor.scalar_type()));
  }
}

double Total(Gpt& gpt, const ForwardOptions& options, const Tensor& labels) {
  const torch::NoGradGuard no_grad;
  return gpt.Forward(Tokens(1), labels, options).total.item<double>();
}

// The derivative along a random direction of each parameter. Evaluation mode holds the spectral vectors fixed, as the gradient does.
TEST(Gpt, GradientsOfEveryCombinationMatchFiniteDifferences) {
  for (const auto& [combination, config] : Combinations()) {
    ASSERT_TRUE(domain::Validate(config).ok()) << combination << domain::Validate(config);
    Gpt gpt(config, 3, torch::kFloat64);
    Perturb(gpt);
    ForwardOptions options;
    options.training = false;
    Tensor labels = Tokens(2);
    labels[1].narrow(0, 2, 4).fill_(-100);
    gpt.Forward(Tokens(1), labels, options).total.backward();
    for (const auto& [name, tensor] : gpt.NamedParameters()) {
      const Tensor direction = SeededNormal(tensor.sizes(), 1.0, 11, name, torch::kFloat64);
      const double along = tensor.grad().defined() ? (tensor.grad() * direction).sum().item<double>() : 0.0;
      const double step = 1e-5;
      const torch::NoGradGuard no_grad;
      tensor.add_(direction, step);
      const double above = Total(gpt, options, labels);
      tensor.add_(direction, -2 * step);
      const double below = Total(gpt, options, labels);
      tensor.add_(direction, step);
      EXPECT_NEAR((above - below) / (2 * step), along, 2e-6 * std::max(1.0, std::abs(along))) << combination << " " << name;
    }
  }
}

TEST(Gpt, HoldsAsManyParametersAsTheConfigCounts) {
  for (const auto& [combination, config] : Combinations()) {
    const Gpt gpt(config, 1);
    std::int64_t count = 0;
    for (const auto& [name, tensor] : gpt.NamedParameters()) {
      count += tensor.numel();
      EXPECT_TRUE(tensor.requires_grad()) << name;
    }
    EXPECT_EQ(count, domain::ParameterCount(config)) << combination;
  }
}

std::map<std::string, Tensor> ByName(const Gpt& gpt) {
  return {gpt.NamedParameters().begin(), gpt.NamedParameters().end()};
}

TEST(Gpt, InitialValuesDependOnSeedAndNameAlone) {
  ModelConfig config = Small();
  at::set_num_threads(1);
  const auto one = ByName(Gpt(config, 42));
  at::set_num_threads(2);
  config.n_layer = 4;
  const auto deeper = ByName(Gpt(config, 42)), other = ByName(Gpt(config, 43));
  at::set_num_threads(1);
  for (const auto& [name, tensor] : one) EXPECT_TRUE(tensor.equal(deeper.at(name))) << name;
  EXPECT_FALSE(one.at("transformer.wte.weight").equal(other.at("transformer.wte.weight")));
  EXPECT_FALSE(deeper.at("transformer.h.0.mlp.c_fc.weight").equal(deeper.at("transformer.h.1.mlp.c_fc.weight")));
}

TEST(Gpt, InitialValuesAreNormal) {
  const Tensor values = SeededNormal({400000}, 0.02, 9, "x", torch::kFloat64);
  EXPECT_NEAR(values.mean().item<double>(), 0.0, 1e-4);
  EXPECT_NEAR(values.std().item<double>(), 0.02, 1e-4);
  EXPECT_NEAR((values / 0.02).pow(4).mean().item<double>(), 3.0, 0.05);
  EXPECT_NEAR(values.abs().lt(0.02).to(torch::kFloat64).mean().item<double>(), 0.6827, 0.004);
}

// Gradients of two half batches, averaged as a gang does, against those of the whole batch.
TEST(Gpt, AGangsAverageIsTheWholeBatchesGradient) {
  for (const auto form : {domain::Regulariser::kMean, domain::Regulariser::kMeanSeq, domain::Regulariser::kSum,
                          domain::Regulariser::kAuthors}) {
    ModelConfig config = NormFree();
    config.reg = form;
    Gpt gpt(config, 3, torch::kFloat64);
    const Tensor tokens = at::cat({Tokens(1), Tokens(4)}).narrow(0, 0, 4), labels = at::cat({Tokens(2), Tokens(5)}).narrow(0, 0, 4);
    gpt.Forward(tokens, labels, {}).total.backward();
    std::map<std::string, Tensor> whole;
    for (const auto& [name, tensor] : gpt.NamedParameters()) {
      whole[name] = tensor.grad().defined() ? tensor.grad().clone() : at::zeros_like(tensor);
      tensor.mutable_grad() = Tensor();
    }
    const Tensor whole_entropy = gpt.Forward(tokens, labels, {}).entropy_LH;
    double total = 0.0;
    for (const std::int64_t rank : {0, 1}) {
      ForwardOptions options;
      options.batch_share = 0.5;
      options.mean_over_ranks = [&](const Tensor& local) { return local * 0.0 + whole_entropy; };
      const auto output = gpt.Forward(tokens.narrow(0, 2 * rank, 2), labels.narrow(0, 2 * rank, 2), options);
      output.total.backward();
      total += 0.5 * output.total.item<double>();
    }
    for (const auto& [name, tensor] : gpt.NamedParameters()) {
      const Tensor mean = tensor.grad().defined() ? tensor.grad() * 0.5 : at::zeros_like(tensor);
      EXPECT_TRUE(at::allclose(mean, whole[name], 1e-9, 1e-12)) << name;
    }
    EXPECT_NEAR(total, gpt.Forward(tokens, labels, {}).total.item<double>(), 1e-9);
  }
}

TEST(Gpt, IgnoredLabelsDoNotCount) {
  Gpt gpt(Small(), 3, torch::kFloat64);
  Tensor labels = Tokens(2);
  labels[0].fill_(-100);
  labels[2][3] = -100;
  ForwardOptions options;
  options.keep_logits = true;
  const auto output = gpt.Forward(Tokens(1), labels, options);
  double sum = 0.0;
  int counted = 0;
  for (std::int64_t b = 0; b < kBatch; ++b) {
    for (std::int64_t i = 0; i < kTokens; ++i) {
      const auto label = labels[b][i].item<std::int64_t>();
      if (label == -100) continue;
      const Tensor row = output.logits_BTV[b][i];
      sum += (row.logsumexp(0) - row[label]).item<double>();
      ++counted;
    }
  }
  EXPECT_EQ(counted, 13);
  EXPECT_NEAR(output.ce.item<double>(), sum / counted, 1e-12);
}

Tensor Logits(Gpt& gpt, bool training = false) {
  const torch::NoGradGuard no_grad;
  ForwardOptions options;
  options.training = training;
  options.keep_logits = true;
  return gpt.Forward(Tokens(1), {}, options).logits_BTV;
}

TEST(Gpt, WeightNormStartsAsTheRawWeightAndIgnoresItsLength) {
  ModelConfig config = Combinations()["weight_norm_many"];
  Gpt normed(config, 3, torch::kFloat64);
  config.layer.reparam = domain::Reparam::kNone;
  config.layer.reparam_targets.clear();
  Gpt raw(config, 3, torch::kFloat64);
  const Tensor before = Logits(normed);
  EXPECT_TRUE(at::allclose(before, Logits(raw), 1e-10, 1e-12));
  const torch::NoGradGuard no_grad;
  auto parameters = ByName(normed);
  EXPECT_EQ(parameters.at("transformer.h.0.attn.c_attn.weight_g").numel(), 16);  // q and v
  parameters.at("transformer.h.0.attn.c_attn.weight").narrow(1, 0, 8).mul_(3.0);
  parameters.at("transformer.h.1.mlp.c_proj.weight").mul_(0.1);
  EXPECT_TRUE(at::allclose(before, Logits(normed), 1e-10, 1e-12));
  // Gains follow the normalised columns in order: the second half belongs to v, which stands third in c_attn.
  const Tensor gains = parameters.at("transformer.h.0.attn.c_attn.weight_g");
  gains.narrow(0, 8, 8).mul_(2.0);
  ByName(raw).at("transformer.h.0.attn.c_attn.weight").narrow(1, 16, 8).mul_(2.0);
  EXPECT_TRUE(at::allclose(Logits(raw), Logits(normed), 1e-10, 1e-12));
}

TEST(Gpt, SpectralNormDividesEachBlockByItsLargestSingularValue) {
  ModelConfig config = Combinations()["spectral_norm_many"];
  Gpt normed(config, 3, torch::kFloat64);
  std::map<std::string, Tensor> state(normed.NamedState().begin(), normed.NamedState().end());
  EXPECT_EQ(state.at("transformer.h.0.attn.c_attn.weight_u").sizes(), at::IntArrayRef({2, 8}));
  EXPECT_EQ(state.at("transformer.h.0.mlp.c_fc.weight_u").sizes(), at::IntArrayRef({1, 12}));
  EXPECT_EQ(state.at("transformer.h.0.mlp.c_fc.weight_v").sizes(), at::IntArrayRef({1, 8}));
  const Tensor vectors = state.at("transformer.h.0.attn.c_attn.weight_u").clone();
  Logits(normed);
  EXPECT_TRUE(vectors.equal(state.at("transformer.h.0.attn.c_attn.weight_u"))) << "evaluation must not iterate";
  for (int i = 0; i < 1000; ++i) Logits(normed, true);
  config.layer.reparam = domain::Reparam::kNone;
  config.layer.reparam_targets.clear();
  Gpt raw(config, 3, torch::kFloat64);
  const torch::NoGradGuard no_grad;
  const auto divide = [](const Tensor& block) { block.div_(at::linalg_svdvals(block).max()); };
  for (const auto& [name, tensor] : raw.NamedParameters()) {
    if (name.ends_with("c_attn.weight")) {
      divide(tensor.narrow(1, 0, 8));
      divide(tensor.narrow(1, 16, 8));
    } else if (name.ends_with("c_proj.weight") || name.ends_with("c_fc.weight")) {
      divide(tensor);
    }
  }
  EXPECT_TRUE(at::allclose(Logits(normed), Logits(raw), 1e-7, 1e-9));
}

TEST(Gpt, DividingByATemperatureIsMultiplyingByItsInverse) {
  ModelConfig config = NormFree();
  config.layer.temperature = domain::Temperature::kDivide;
  config.layer.temperature_init = 0.5;
  Gpt divide(config, 3, torch::kFloat64);
  config.layer.temperature = domain::Temperature::kMultiply;
  config.layer.temperature_init = 2.0;
  Gpt multiply(config, 3, torch::kFloat64);
  EXPECT_TRUE(at::allclose(Logits(divide), Logits(multiply), 1e-12, 1e-14));
}

TEST(Gpt, AFusedFfnIsTheProductOfTwoLinears) {
  ModelConfig config = NormFree();
  Gpt two(config, 3, torch::kFloat64);
  config.layer.ffn = domain::Ffn::kFused;
  Gpt fused(config, 3, torch::kFloat64);
  const torch::NoGradGuard no_grad;
  const auto from = ByName(two);
  for (const auto& [name, tensor] : fused.NamedParameters()) {
    if (!name.ends_with("c_ffn.weight")) continue;
    const std::string prefix = name.substr(0, name.size() - std::string("c_ffn.weight").size());
    tensor.copy_(at::mm(from.at(prefix + "c_fc.weight"), from.at(prefix + "c_proj.weight")));
  }
  EXPECT_TRUE(at::allclose(Logits(two), Logits(fused), 1e-11, 1e-13));
}

TEST(Gpt, TheValueThirdOfAQkBiasIsFrozenAtZero) {
  Gpt gpt(NormFree(), 3, torch::kFloat64);
  const Tensor before = Logits(gpt), bias = ByName(gpt).at("transformer.h.0.attn.c_attn.bias");
  {
    const torch::NoGradGuard no_grad;
    bias.narrow(0, 16, 8).fill_(5.0);
  }
  EXPECT_TRUE(before.equal(Logits(gpt)));
  gpt.Forward(Tokens(1), Tokens(2), {}).total.backward();
  EXPECT_EQ(bias.grad().narrow(0, 16, 8).abs().max().item<double>(), 0.0);
  EXPECT_GT(bias.grad().narrow(0, 0, 8).abs().max().item<double>(), 0.0);
}

TEST(Gpt, FrozenThresholdsAndScalesAreState) {
  const Gpt gpt(Combinations()["frozen"], 3);
  const std::map<std::string, Tensor> state(gpt.NamedState().begin(), gpt.NamedState().end());
  for (const char* name : {"transformer.h.0.attn.reg_threshold_weights", "transformer.h.1.mlp.alpha", "transformer.h.1.mlp.beta"}) {
    EXPECT_TRUE(state.contains(name)) << name;
    EXPECT_FALSE(ByName(gpt).contains(name)) << name;
  }
  EXPECT_EQ(gpt.Theta().sizes(), at::IntArrayRef({2, 2}));
}

TEST(Regulariser, MaximumEntropyIsOfTheContextUnlessConfigured) {
  ModelConfig config = Small();
  EXPECT_DOUBLE_EQ(MaxEntropyNats(config, 7), std::log(7.0));
  EXPECT_DOUBLE_EQ(MaxEntropyNats(config, 1), 0.0);
  config.emax_context = 128;
  EXPECT_DOUBLE_EQ(MaxEntropyNats(config, 7), std::log(128.0));
}

// delta = E - 0.5 * 2: -0.5, 0, 0.3, 1; outside a band of 0.15 * 2 strictly, the third is inside.
TEST(Regulariser, PenaltyIsZeroInsideTheBandOnly) {
  RegulariserInputs inputs;
  inputs.entropy_LH = at::tensor({0.5, 1.0, 1.25, 2.0}, torch::kFloat64).view({2, 2}).set_requires_grad(true);
  inputs.theta_LH = at::full({2, 2}, 0.5, torch::kFloat64).set_requires_grad(true);
  inputs.gamma = 0.125;
  inputs.max_entropy_nats = 2.0;
  const Tensor value = RegulariserValue(domain::Regulariser::kMean, inputs);
  EXPECT_DOUBLE_EQ(value.item<double>(), (0.25 + 1.0) / 4.0);
  value.backward();
  const Tensor expected = at::tensor({-0.25, 0.0, 0.0, 0.5}, torch::kFloat64).view({2, 2});
  EXPECT_TRUE(at::allclose(inputs.entropy_LH.grad(), expected));
  EXPECT_TRUE(at::allclose(inputs.theta_LH.grad(), expected * -2.0));
}

// Weights so large that scores reach far beyond exp's range: numbers stay numbers, entropies within their bounds.
TEST(Gpt, HugeScoresStayFinite) {
  ModelConfig config = NormFree();
  config.reg = domain::Regulariser::kMean;
  Gpt gpt(config, 3);
  {
    const torch::NoGradGuard no_grad;
    for (const auto& [name, tensor] : gpt.NamedParameters()) {
      if (name.ends_with("c_attn.weight")) tensor.narrow(1, 0, 16).mul_(3e3);
    }
  }
  ForwardOptions options;
  options.keep_query_entropy = true;
  const auto output = gpt.Forward(Tokens(1), Tokens(2), options);
  EXPECT_GT(output.max_abs_score_L.max().item<double>(), 1e6);
  output.total.backward();
  for (const auto& [name, tensor] : gpt.NamedParameters()) {
    EXPECT_TRUE(tensor.grad().isfinite().all().item<bool>()) << name;
  }
  EXPECT_GE(output.entropy_LBHT.min().item<double>(), 0.0);
  EXPECT_LE(output.entropy_LBHT.max().item<double>(), std::log(7.0) + 1e-6);
}

// Matrices in bfloat16 or float16 beside float32 parameters: the same function up to their rounding, in every combination.
TEST(Gpt, ReducedArithmeticIsTheSameFunctionUpToRounding) {
  for (const auto& [combination, config] : Combinations()) {
    Gpt exact(config, 3), reduced(config, 3);
    Perturb(exact);
    Perturb(reduced);
    for (const auto& [dtype, share] : {std::pair(torch::kBFloat16, 0.1), std::pair(torch::kFloat16, 0.015)}) {
      ForwardOptions options;
      options.training = false;
      options.keep_logits = true;
      const ForwardOutput want = exact.Forward(Tokens(1), Tokens(2), options);
      options.arithmetic = dtype;
      const ForwardOutput got = reduced.Forward(Tokens(1), Tokens(2), options);
      EXPECT_EQ(got.logits_BTV.scalar_type(), torch::kFloat32);
      EXPECT_FALSE(got.logits_BTV.equal(want.logits_BTV)) << combination;
      const double scale = want.logits_BTV.abs().max().item<double>();
      EXPECT_LE((got.logits_BTV - want.logits_BTV).abs().max().item<double>(), share * scale) << combination;
      EXPECT_LE((got.entropy_LH - want.entropy_LH).abs().max().item<double>(), share) << combination;
      for (Gpt* gpt : {&exact, &reduced}) {
        for (const auto& [name, tensor] : gpt->NamedParameters()) tensor.mutable_grad() = Tensor();
      }
      want.total.backward();
      got.total.backward();
      const auto gradients = ByName(reduced);
      for (const auto& [name, tensor] : exact.NamedParameters()) {
        const Tensor other = gradients.at(name).grad();
        ASSERT_EQ(tensor.grad().defined(), other.defined()) << combination << " " << name;
        if (!other.defined()) continue;
        EXPECT_EQ(other.scalar_type(), torch::kFloat32) << "accumulated in the parameters' type";
        EXPECT_TRUE(other.isfinite().all().item<bool>()) << combination << " " << name;
      }
    }
  }
}

// Raw weights of elsewhere under weight norm are what they were; under spectral norm their blocks are divided by their norms.
TEST(Gpt, ReparametrisingStartsFromTheWeightsAsTheyAre) {
  for (const char* combination : {"weight_norm_many", "weight_norm_fused", "spectral_norm_many"}) {
    ModelConfig config = Combinations()[combination];
    Gpt normed(config, 3, torch::kFloat64), other(config, 99, torch::kFloat64);
    const torch::NoGradGuard no_grad;
    const auto from = ByName(other);
    for (const auto& [name, tensor] : normed.NamedParameters()) {
      if (!name.ends_with(".weight_g")) tensor.copy_(from.at(name));
    }
    if (config.layer.reparam == domain::Reparam::kWeightNorm) {
      EXPECT_FALSE(at::allclose(Logits(normed), Logits(other), 1e-3, 1e-3)) << combination;
    }
    for (int i = 0; i < 80; ++i) {
      normed.Reparametrise();
      other.Reparametrise();
    }
    EXPECT_TRUE(at::allclose(Logits(normed), Logits(other), 1e-5, 1e-6)) << combination;
  }
}

// Gradients of two micro-batches by autograd, by the pass written out, and both alike where it falls back.
struct GradientRun {
  std::map<std::string, Tensor> gradients;
  std::vector<double> numbers;  // total, ce, reg and every entropy of both forwards
};

GradientRun TwoMicroBatches(const ModelConfig& config, torch::Dtype dtype, std::optional<torch::Dtype> arithmetic, bool written_out) {
  Gpt gpt(config, 3, dtype);
  Perturb(gpt);
  GradientRun run;
  if (written_out) {  // the first micro-batch overwrites whatever was there
    for (const auto& [name, tensor] : gpt.NamedParameters()) tensor.mutable_grad() = at::full_like(tensor.detach(), std::nan(""));
  }
  for (int micro = 0; micro < 2; ++micro) {
    Tensor labels = Tokens(2 + static_cast<std::uint64_t>(micro));
    labels[1].narrow(0, 2, 4).fill_(-100);
    ForwardOptions options;
    options.arithmetic = arithmetic;
    options.keep_query_entropy = true;
    if (written_out) options.backward = BackwardOptions{.accumulate = micro > 0, .loss_scale = 8.0};
    const ForwardOutput output = gpt.Forward(Tokens(1 + static_cast<std::uint64_t>(micro)), labels, options);
    written_out ? gpt.Backward(output) : (output.total * 8.0).backward();
    for (const Tensor& value : {output.total, output.ce, output.reg}) run.numbers.push_back(value.item<double>());
    const Tensor flat = at::cat({output.entropy_LBHT.flatten(), output.max_abs_score_L, output.entropy_LH.flatten()});
    for (std::int64_t i = 0; i < flat.numel(); ++i) run.numbers.push_back(flat[i].item<double>());
  }
  for (const auto& [name, tensor] : gpt.NamedParameters()) {
    run.gradients[name] = tensor.grad().defined() ? tensor.grad().clone() : at::zeros_like(tensor.detach());
  }
  for (const auto& [name, tensor] : gpt.NamedState()) run.gradients["state " + name] = tensor.clone();
  return run;
}

TEST(Gpt, TheWrittenOutPassIsAutogradsInEveryCombination) {
  auto all = Combinations();
  all["gelu_tanh"] = Small();
  all["gelu_tanh"].layer.activation = domain::Activation::kGeluNew;
  all["layer_leaky"] = all["global_leaky"];
  all["layer_leaky"].layer.leaky_mode = domain::LeakyMode::kLayer;
  all["fixed_leaky"] = all["global_leaky"];
  all["fixed_leaky"].layer.leaky_mode = domain::LeakyMode::kFixed;
  for (const auto& [combination, config] : all) {
    for (const auto& [dtype, share] : {std::pair(torch::kFloat64, 1e-12), std::pair(torch::kFloat32, 1e-5)}) {
      const GradientRun want = TwoMicroBatches(config, dtype, {}, false), got = TwoMicroBatches(config, dtype, {}, true);
      ASSERT_EQ(got.numbers.size(), want.numbers.size());
      for (std::size_t i = 0; i < want.numbers.size(); ++i) {
        EXPECT_NEAR(got.numbers[i], want.numbers[i], share * std::max(1.0, std::abs(want.numbers[i]))) << combination << " number " << i;
      }
      for (const auto& [name, gradient] : want.gradients) {
        const double scale = std::max(gradient.abs().max().item<double>(), 1e-3);
        EXPECT_LE((got.gradients.at(name) - gradient).abs().max().item<double>(), share * scale) << combination << " " << name;
      }
    }
  }
}

TEST(Gpt, TheWrittenOutPassMultipliesInReducedArithmetic) {
  for (const auto& [combination, config] : Combinations()) {
    const GradientRun want = TwoMicroBatches(config, torch::kFloat32, torch::kBFloat16, false);
    const GradientRun got = TwoMicroBatches(config, torch::kFloat32, torch::kBFloat16, true);
    const GradientRun exact = TwoMicroBatches(config, torch::kFloat64, {}, false);
    for (const auto& [name, gradient] : exact.gradients) {
      // As near to the exact gradient as autograd's own reduced pass, up to luck in the rounding.
      const double scale = std::max(gradient.norm().item<double>(), 1e-2);
      const double theirs = (want.gradients.at(name) - gradient).norm().item<double>() / scale;
      const double ours = (got.gradients.at(name) - gradient).norm().item<double>() / scale;
      EXPECT_LE(ours, 2.0 * theirs + 0.05) << combination << " " << name;
    }
  }
}

// An untouched model gives the same bits whatever ran in its buffers before.
TEST(Gpt, TheWrittenOutPassRepeatsItsBits) {
  Gpt gpt(Combinations()["per_layer"], 3);
  const auto gradients = [&](std::int64_t sequences) {
    ForwardOptions options;
    options.training = false;
    options.backward = BackwardOptions{};
    gpt.Backward(gpt.Forward(Tokens(1).narrow(0, 0, sequences), Tokens(2).narrow(0, 0, sequences), options));
    std::vector<Tensor> copies;
    for (const auto& [name, tensor] : gpt.NamedParameters()) copies.push_back(tensor.grad().clone());
    return copies;
  };
  const std::vector<Tensor> first = gradients(kBatch);
  gradients(1);
  const std::vector<Tensor> again = gradients(kBatch);
  for (std::size_t i = 0; i < first.size(); ++i) EXPECT_TRUE(again[i].equal(first[i])) << gpt.NamedParameters()[i].first;
}

// An evaluation has buffers of its own: a training step around it keeps its bits.
TEST(Gpt, AnEvaluationIsTheSamePassAndDisturbsNoGradient) {
  for (const auto& [combination, config] : Combinations()) {
    Gpt gpt(config, 3, torch::kFloat64);
    Perturb(gpt);
    ForwardOptions options;
    options.training = false;
    options.keep_query_entropy = true;
    Tensor labels = Tokens(2);
    labels[1].narrow(0, 2, 4).fill_(-100);
    const ForwardOutput want = gpt.Forward(Tokens(1), labels, options);
    const auto evaluate = [&](std::int64_t sequences) {
      const torch::NoGradGuard no_grad;
      return gpt.Forward(Tokens(1).narrow(0, 0, sequences), labels.narrow(0, 0, sequences), options);
    };
    ForwardOptions training = options;
    training.backward = BackwardOptions{};
    const auto gradients = [&](bool disturbed) {
      const ForwardOutput output = gpt.Forward(Tokens(1), labels, training);
      if (disturbed) evaluate(1);
      gpt.Backward(output);
      std::vector<Tensor> copies;
      for (const auto& [name, tensor] : gpt.NamedParameters()) copies.push_back(tensor.grad().clone());
      return copies;
    };
    const std::vector<Tensor> alone = gradients(false), around = gradients(true);
    for (std::size_t i = 0; i < alone.size(); ++i) EXPECT_TRUE(around[i].equal(alone[i])) << combination << " " << i;
    const ForwardOutput got = evaluate(kBatch);
    EXPECT_FALSE(got.total.requires_grad()) << combination;
    for (const auto& [mine, theirs] : {std::pair(got.ce, want.ce), std::pair(got.reg, want.reg), std::pair(got.total, want.total),
                                       std::pair(got.entropy_LBHT, want.entropy_LBHT), std::pair(got.max_abs_score_L, want.max_abs_score_L)}) {
      EXPECT_TRUE(at::allclose(mine, theirs, 1e-12, 1e-12)) << combination;
    }
  }
}

}  // namespace
}  // namespace entrain::model
