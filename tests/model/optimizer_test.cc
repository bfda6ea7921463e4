#include "worker/trainer/optimizer.h"

#include <cmath>

#include "gtest/gtest.h"
#include "model/initialisation.h"

namespace entrain::trainer {
namespace {

using torch::Tensor;

AdamW::NamedTensors Parameters() {
  AdamW::NamedTensors parameters;
  const auto add = [&](const char* name, at::IntArrayRef shape) {
    parameters.emplace_back(name, model::SeededNormal(shape, 1.0, 1, name, torch::kFloat64).set_requires_grad(true));
  };
  add("transformer.wte.weight", {5, 4});
  add("transformer.h.0.ln_1.weight", {4});
  add("transformer.h.0.attn.c_attn.weight", {4, 12});
  add("transformer.h.0.attn.c_attn.bias", {12});
  add("transformer.h.0.mlp.alpha", {1});
  return parameters;
}

domain::TrainConfig Train(domain::LrSchedule schedule) {
  domain::TrainConfig train;
  train.steps = 11;
  train.warmup_steps = 4;
  train.lr = 2.0;
  train.final_lr_fraction = 0.1;
  train.schedule = schedule;
  return train;
}

TEST(LearningRate, WarmsUpThenFollowsTheSchedule) {
  const auto linear = Train(domain::LrSchedule::kLinear);
  EXPECT_DOUBLE_EQ(LearningRate(linear, 0), 0.5);
  EXPECT_DOUBLE_EQ(LearningRate(linear, 3), 2.0);
  EXPECT_DOUBLE_EQ(LearningRate(linear, 4), 2.0);
  EXPECT_DOUBLE_EQ(LearningRate(linear, 7), 1.1);
  EXPECT_DOUBLE_EQ(LearningRate(linear, 10), 0.2);
  EXPECT_DOUBLE_EQ(LearningRate(linear, 99), 0.2);
  const auto cosine = Train(domain::LrSchedule::kCosine);
  EXPECT_DOUBLE_EQ(LearningRate(cosine, 4), 2.0);
  EXPECT_NEAR(LearningRate(cosine, 7), 1.1, 1e-12);
  EXPECT_NEAR(LearningRate(cosine, 5), 2.0 * (0.1 + 0.9 * 0.5 * (1 + std::cos(M_PI / 6))), 1e-12);
  EXPECT_NEAR(LearningRate(cosine, 10), 0.2, 1e-12);
  EXPECT_DOUBLE_EQ(LearningRate(Train(domain::LrSchedule::kConstant), 10), 2.0);
}

TEST(LearningRate, ShortRunsAreWhole) {
  auto train = Train(domain::LrSchedule::kLinear);
  train.warmup_steps = 0;
  train.steps = 1;
  EXPECT_DOUBLE_EQ(LearningRate(train, 0), 2.0);
  train.warmup_steps = 5;
  train.steps = 5;
  EXPECT_DOUBLE_EQ(LearningRate(train, 4), 2.0);
}

TEST(Decays, FollowsBothRules) {
  using domain::DecayRule;
  for (const char* name : {"transformer.wte.weight", "transformer.h.1.mlp.c_fc.weight"}) {
    EXPECT_TRUE(Decays(name, DecayRule::kHf)) << name;
    EXPECT_TRUE(Decays(name, DecayRule::kLinear)) << name;
  }
  for (const char* name : {"transformer.h.0.mlp.alpha", "transformer.h.0.attn.temperature", "transformer.lrelu_slope",
                           "transformer.h.0.attn.reg_threshold_weights", "transformer.h.0.mlp.c_fc.weight_g"}) {
    EXPECT_TRUE(Decays(name, DecayRule::kHf)) << name;
    EXPECT_FALSE(Decays(name, DecayRule::kLinear)) << name;
  }
  for (const char* name : {"transformer.ln_f.weight", "transformer.h.0.ln_2.weight", "transformer.h.0.ln_1.bias",
                           "transformer.h.0.attn.c_attn.bias"}) {
    EXPECT_FALSE(Decays(name, DecayRule::kHf)) << name;
    EXPECT_FALSE(Decays(name, DecayRule::kLinear)) << name;
  }
}

// AdamW as it is printed, one number at a time.
TEST(AdamW, StepsAreThePrintedOnes) {
  const auto parameters = Parameters();
  std::map<std::string, Tensor> p, m, v;
  for (const auto& [name, tensor] : parameters) {
    p[name] = tensor.detach().clone();
    m[name] = v[name] = at::zeros_like(p[name]);
  }
  const AdamWOptions options{0.9, 0.95, 1e-8, 0.1, domain::DecayRule::kHf};
  AdamW optimizer(parameters, options);
  for (int step = 1; step <= 3; ++step) {
    const double lr = 0.01 * step;
    optimizer.ZeroGrad();
    double squares = 0.0;
    std::map<std::string, Tensor> g;
    for (const auto& [name, tensor] : parameters) {
      g[name] = model::SeededNormal(tensor.sizes(), 1.0, static_cast<std::uint64_t>(step), name, torch::kFloat64);
      (tensor * g[name]).sum().backward();
      squares += 0.25 * g[name].square().sum().item<double>();
    }
    optimizer.SetSchedule(lr, 0.5);
    optimizer.Update(1.0);
    optimizer.CountStep();
    EXPECT_NEAR(optimizer.GradientNorm(), std::sqrt(squares), 1e-12);
    const double clip = std::min(1.0, 1.0 / (std::sqrt(squares) + 1e-6));
    for (const auto& [name, tensor] : parameters) {
      const Tensor gradient = g[name] * (0.5 * clip);
      m[name] = 0.9 * m[name] + 0.1 * gradient;
      v[name] = 0.95 * v[name] + 0.05 * gradient.square();
      if (Decays(name, options.decay_rule)) p[name] = p[name] * (1.0 - lr * 0.1);
      p[name] = p[name] - lr * (m[name] / (1 - std::pow(0.9, step))) / ((v[name] / (1 - std::pow(0.95, step))).sqrt() + 1e-8);
      EXPECT_TRUE(at::allclose(tensor, p[name], 1e-12, 1e-14)) << name << " step " << step;
    }
  }
  EXPECT_EQ(optimizer.step(), 3);
  for (const auto& [name, tensor] : optimizer.NamedState()) {
    const bool first = name.starts_with("exp_avg.");
    const std::string parameter = name.substr(first ? 8 : 11);
    EXPECT_TRUE(at::allclose(tensor, first ? m[parameter] : v[parameter], 1e-12, 1e-14)) << name;
  }
}

TEST(AdamW, GradientsAreViewsOfOneBuffer) {
  const auto parameters = Parameters();
  AdamW optimizer(parameters, {});
  for (const auto& [name, tensor] : parameters) (tensor.sum() * 3.0).backward();
  std::int64_t covered = 0;
  for (const FlatSegment& segment : optimizer.segments()) {
    EXPECT_EQ(segment.offset % 16, 0);
    EXPECT_TRUE(optimizer.flat_gradient().narrow(0, segment.offset, segment.count).eq(3.0).all().item<bool>());
    covered += segment.count;
  }
  EXPECT_EQ(optimizer.flat_gradient().sum().item<double>(), 3.0 * static_cast<double>(covered));
  EXPECT_EQ(optimizer.segments().front().name, "transformer.h.0.mlp.alpha");
  optimizer.ZeroGrad();
  EXPECT_EQ(parameters[0].second.grad().abs().sum().item<double>(), 0.0);
}

// A resumed optimiser goes on bit for bit.
TEST(AdamW, StateRestoresExactly) {
  const auto gradient_step = [](AdamW& optimizer, std::uint64_t seed) {
    optimizer.flat_gradient().copy_(
        model::SeededNormal(optimizer.flat_gradient().sizes(), 1.0, seed, "g", torch::kFloat64));
    optimizer.SetSchedule(0.01, 1.0);
    optimizer.Update(0.0);
    optimizer.CountStep();
  };
  const auto first = Parameters();
  AdamW whole(first, {});
  for (std::uint64_t step = 0; step < 3; ++step) gradient_step(whole, step);
  const auto second = Parameters();
  AdamW resumed(second, {});
  const auto from = whole.NamedState(), to = resumed.NamedState();
  for (std::size_t i = 0; i < from.size(); ++i) to[i].second.copy_(from[i].second);
  const torch::NoGradGuard no_grad;
  for (std::size_t i = 0; i < first.size(); ++i) second[i].second.copy_(first[i].second);
  resumed.set_step(whole.step());
  gradient_step(whole, 9);
  gradient_step(resumed, 9);
  for (std::size_t i = 0; i < first.size(); ++i) EXPECT_TRUE(first[i].second.equal(second[i].second)) << first[i].first;
}

TEST(AdamW, NonFiniteGradientsAreReportedAndChangeNothing) {
  AdamW optimizer(Parameters(), {});
  const Tensor before = optimizer.flat_parameters().clone();
  optimizer.flat_gradient().fill_(1.0);
  optimizer.flat_gradient()[3] = std::nan("");
  optimizer.SetSchedule(0.01, 1.0);
  optimizer.Update(1.0);
  EXPECT_TRUE(std::isnan(optimizer.GradientNorm()));
  EXPECT_TRUE(optimizer.flat_parameters().equal(before));
  for (const auto& [name, tensor] : optimizer.NamedState()) EXPECT_EQ(tensor.abs().sum().item<double>(), 0.0) << name;
}

// The copies are the parameters rounded, after every update and after a load.
TEST(AdamW, ComputeCopiesFollowTheParameters) {
  for (const auto dtype : {torch::kBFloat16, torch::kFloat16}) {
    AdamW::NamedTensors parameters;
    for (const auto& [name, tensor] : Parameters()) {
      parameters.emplace_back(name, tensor.detach().to(torch::kFloat32).set_requires_grad(true));
    }
    AdamW optimizer(parameters, {});
    EXPECT_TRUE(optimizer.compute_copies().empty());
    optimizer.KeepComputeCopies(dtype);
    const auto expect_equal = [&] {
      const std::map<std::string, Tensor> copies(optimizer.compute_copies().begin(), optimizer.compute_copies().end());
      for (const auto& [name, tensor] : parameters) EXPECT_TRUE(copies.at(name).equal(tensor.detach().to(dtype))) << name;
    };
    expect_equal();
    for (int step = 0; step < 3; ++step) {
      optimizer.flat_gradient().copy_(model::SeededNormal(optimizer.flat_gradient().sizes(), 1.0, 7, "g", torch::kFloat32));
      optimizer.SetSchedule(0.01, 1.0);
      optimizer.Update(1.0);
      optimizer.CountStep();
      expect_equal();
    }
    {
      const torch::NoGradGuard no_grad;
      parameters[0].second.fill_(0.1);
    }
    optimizer.RefreshComputeCopies();
    expect_equal();
  }
}

}  // namespace
}  // namespace entrain::trainer
