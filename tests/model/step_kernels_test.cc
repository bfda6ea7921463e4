// Every back end of the step's kernels against the reference in double precision, and the reference against autograd.
#include "model/kernels/step_kernels.h"

#include <ATen/Parallel.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace entrain::kernels {
namespace {

using torch::Tensor;

constexpr auto kDouble = torch::kFloat64;

Tensor Random(std::vector<std::int64_t> shape, std::uint64_t seed, double scale = 1.0) {
  auto generator = at::detail::createCPUGenerator(seed);
  return at::randn(shape, generator, at::TensorOptions().dtype(kDouble)) * scale;
}

// Largest |got - expected| over the largest |expected|.
double Deviation(const Tensor& got, const Tensor& expected) {
  const double scale = std::max(expected.to(kDouble).abs().max().item<double>(), 1e-30);
  return (got.to(kDouble) - expected.to(kDouble)).abs().max().item<double>() / scale;
}

void ExpectClose(const Tensor& got, const Tensor& expected, double share, const std::string& what) {
  EXPECT_LE(Deviation(got, expected), share) << what;
}

class StepKernelsTest : public testing::TestWithParam<const StepKernels*> {
 protected:
  void SetUp() override {
    if (!kernels().supports(at::zeros({1}))) GTEST_SKIP() << "this machine lacks its instructions";
  }
  const StepKernels& kernels() const { return *GetParam(); }
  static Tensor Single(const Tensor& x) { return x.defined() ? x.to(torch::kFloat32) : x; }
};

INSTANTIATE_TEST_SUITE_P(All, StepKernelsTest, testing::ValuesIn([] {
                           std::vector<const StepKernels*> on_cpu;
                           for (const StepKernels* kernels : AllStepKernels()) {
                             if (kernels->name != "cuda") on_cpu.push_back(kernels);
                           }
                           return on_cpu;
                         }()),
                         [](const auto& instance) { return std::string(instance.param->name); });

struct LossShape {
  std::int64_t rows, vocabulary, columns;
  double scale;
};

TEST_P(StepKernelsTest, CrossEntropyIsAutogradsInDouble) {
  for (const LossShape& shape : {LossShape{1, 1, 1, 1.0}, {3, 5, 8, 1.0}, {7, 11, 11, 30.0}, {65, 257, 320, 3.0}, {4, 4096, 4096, 100.0}}) {
    const Tensor wide = Random({shape.rows, shape.columns}, 1, shape.scale).to(torch::kFloat32);
    Tensor labels = at::arange(shape.rows).mul(7).remainder(shape.vocabulary);
    if (shape.rows > 2) labels[1] = -100;
    Tensor leaf = wide.narrow(1, 0, shape.vocabulary).to(kDouble).clone().set_requires_grad(true);
    const Tensor expected = at::cross_entropy_loss(leaf, labels);
    expected.backward();
    const Tensor counted = labels.ge(0).sum();
    CrossEntropy call{wide.clone(), labels, shape.vocabulary, at::full({shape.rows}, 99.0f), false, {}};
    kernels().cross_entropy(call);
    EXPECT_TRUE(call.logits_NV.equal(wide)) << "without a gradient the logits stay";
    const Tensor loss = call.loss_N.clone();
    call.gradient = true;
    call.row_weight = counted.to(torch::kFloat32).reciprocal();
    kernels().cross_entropy(call);
    EXPECT_TRUE(call.loss_N.equal(loss));
    const std::string what = "rows " + std::to_string(shape.rows) + " vocabulary " + std::to_string(shape.vocabulary);
    ExpectClose(loss.sum() / counted, expected, 1e-6, what);
    if (expected.item<double>() == 0.0) continue;
    EXPECT_LE((call.logits_NV.narrow(1, 0, shape.vocabulary).to(kDouble) - leaf.grad()).abs().max().item<double>(), 3e-7 * std::max(1.0, shape.scale / 10) / static_cast<double>(counted.item<std::int64_t>())) << what;
    EXPECT_EQ(call.logits_NV.narrow(1, shape.vocabulary, shape.columns - shape.vocabulary).abs().sum().item<double>(), 0.0);
  }
}

TEST_P(StepKernelsTest, CrossEntropyShowsWhatIsNotFinite) {
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    for (const std::int64_t place : {0, 9}) {
      Tensor logits = Random({2, 10}, 1).to(torch::kFloat32);
      logits[1][place] = bad;
      CrossEntropy call{logits, at::full({2}, 3, at::kLong), 10, at::zeros({2}), true, at::ones({})};
      kernels().cross_entropy(call);
      EXPECT_TRUE(std::isfinite(call.loss_N[0].item<double>()));
      EXPECT_FALSE(std::isfinite(call.loss_N[1].item<double>())) << bad << " at " << place;
    }
  }
}

TEST_P(StepKernelsTest, CrossEntropyReadsRowsThatLieApart) {
  const Tensor padded = Random({6, 48}, 2).to(torch::kFloat32), dense = padded.narrow(1, 0, 33).contiguous();
  const Tensor labels = at::arange(6);
  CrossEntropy apart{padded.clone().narrow(1, 0, 33), labels, 33, at::zeros({6}), true, at::ones({})};
  CrossEntropy together{dense, labels, 33, at::zeros({6}), true, at::ones({})};
  kernels().cross_entropy(apart);
  kernels().cross_entropy(together);
  EXPECT_TRUE(apart.logits_NV.equal(together.logits_NV));
  EXPECT_TRUE(apart.loss_N.equal(together.loss_N));
}

struct NormCase {
  std::int64_t rows, width;
  bool norm, delta, bias;
};

TEST_P(StepKernelsTest, ResidualNormAndItsGradientAreAutogradsInDouble) {
  for (const NormCase& c : {NormCase{1, 2, true, true, true}, {5, 7, true, true, true}, {33, 192, true, true, false},
                            {64, 200, true, false, false}, {9, 40, false, true, true}, {300, 24, true, true, true}}) {
    const auto leaf = [&](std::vector<std::int64_t> shape, std::uint64_t seed) {
      return Random(shape, seed).to(torch::kFloat32).to(kDouble).set_requires_grad(true);
    };
    Tensor residual = leaf({c.rows, c.width}, 1), delta, bias, gain, shift;
    Tensor sum = residual;
    if (c.delta) sum = sum + (delta = leaf({c.rows, c.width}, 2));
    if (c.bias) sum = sum + (bias = leaf({c.width}, 3));
    Tensor normed = sum;
    if (c.norm) {
      gain = leaf({c.width}, 4);
      shift = leaf({c.width}, 5);
      normed = at::layer_norm(sum, {c.width}, gain, shift, 1e-5);
    }
    const Tensor d_normed = Random({c.rows, c.width}, 6), d_past = Random({c.rows, c.width}, 7);
    (c.norm ? (normed * d_normed).sum() + (sum * d_past).sum() : (sum * d_past).sum()).backward();

    const auto out = [&](std::vector<std::int64_t> shape) { return at::full(shape, 99.0f); };
    ResidualNorm forward{Single(residual.detach()), Single(delta), Single(bias),
                         Single(gain),              Single(shift), 1e-5,
                         out({c.rows, c.width}),    out({c.rows, c.width}), out({c.rows}), out({c.rows})};
    const torch::NoGradGuard no_grad;
    kernels().residual_norm(forward);
    const std::string what = "rows " + std::to_string(c.rows) + " width " + std::to_string(c.width);
    if (c.delta) ExpectClose(forward.sum_NC, sum, 1e-6, what + " sum");
    if (c.norm) ExpectClose(forward.normed_NC, normed, 3e-6, what + " normed");
    ResidualNormGradient backward;
    if (c.norm) backward.d_normed_NC = Single(d_normed);
    backward.sum_NC = c.delta ? forward.sum_NC : forward.residual_NC;
    backward.mean_N = forward.mean_N;
    backward.inverse_deviation_N = forward.inverse_deviation_N;
    backward.gain_C = forward.gain_C;
    backward.d_gain_C = out({c.width});
    backward.d_shift_C = out({c.width});
    backward.d_bias_C = c.bias ? out({c.width}) : Tensor();
    for (const bool accumulate : {false, true}) {
      backward.accumulate = accumulate;
      backward.d_sum_NC = Single(d_past).clone();
      kernels().residual_norm_gradient(backward);
      ExpectClose(backward.d_sum_NC, residual.grad(), 1e-5, what + " d_sum");
      const double times = accumulate ? 2.0 : 1.0;
      if (c.norm) ExpectClose(backward.d_gain_C, gain.grad() * times, 1e-5, what + " d_gain");
      if (c.norm) ExpectClose(backward.d_shift_C, shift.grad() * times, 1e-5, what + " d_shift");
      if (c.bias) ExpectClose(backward.d_bias_C, bias.grad() * times, 1e-5, what + " d_bias");
    }
  }
}

TEST_P(StepKernelsTest, ActivationsAreAutogradsInDouble) {
  using Function = std::function<Tensor(const Tensor&, const Tensor&)>;
  const std::vector<std::pair<ActivationKind, Function>> kinds = {
      {ActivationKind::kIdentity, [](const Tensor& x, const Tensor&) { return x * 1.0; }},
      {ActivationKind::kRelu, [](const Tensor& x, const Tensor&) { return at::relu(x); }},
      {ActivationKind::kLeakyRelu, [](const Tensor& x, const Tensor& slope) { return at::prelu(x, slope); }},
      {ActivationKind::kGeluErf, [](const Tensor& x, const Tensor&) { return at::gelu(x); }},
      {ActivationKind::kGeluTanh, [](const Tensor& x, const Tensor&) { return at::gelu(x, "tanh"); }}};
  for (const auto& [kind, function] : kinds) {
    for (const std::int64_t width : {1, 13, 768}) {
      for (const bool biased : {false, true}) {
        Tensor x = (Random({17, width}, 1, 3.0)).to(torch::kFloat32).to(kDouble).set_requires_grad(true);
        Tensor bias = biased ? Random({width}, 2).to(torch::kFloat32).to(kDouble).set_requires_grad(true) : Tensor();
        Tensor slope = at::full({1}, 0.125, kDouble).set_requires_grad(true);
        const Tensor y = function(biased ? x + bias : x, slope), d_y = Random({17, width}, 3);
        (y * d_y).sum().backward();
        const torch::NoGradGuard no_grad;
        const bool leaky = kind == ActivationKind::kLeakyRelu;
        BiasActivation forward{kind, Single(x), Single(bias), Single(slope), at::empty({17, width})};
        kernels().bias_activation(forward);
        const std::string what = "kind " + std::to_string(static_cast<int>(kind)) + " width " + std::to_string(width);
        ExpectClose(forward.y_NF, y, 3e-7, what);
        BiasActivationGradient backward{kind, Single(x), Single(bias), Single(slope), Single(d_y), at::empty({17, width}),
                                        biased ? at::ones({width}) : Tensor(), leaky ? at::ones({1}) : Tensor(), false};
        kernels().bias_activation_gradient(backward);
        ExpectClose(backward.d_x_NF, x.grad(), 3e-6, what + " d_x");
        if (biased) ExpectClose(backward.d_bias_F, bias.grad(), 3e-6, what + " d_bias");
        if (leaky) ExpectClose(backward.d_slope, slope.grad(), 1e-5, what + " d_slope");
        const Tensor apart = backward.d_x_NF.clone();
        backward.accumulate = true;
        backward.d_x_NF = backward.d_y_NF;  // in place
        kernels().bias_activation_gradient(backward);
        EXPECT_TRUE(backward.d_x_NF.equal(apart));
        if (biased) ExpectClose(backward.d_bias_F, bias.grad() * 2.0, 3e-6, what + " d_bias twice");
        if (leaky) continue;  // its slope's gradient needs x
        BiasActivation keeping = forward;
        keeping.x_NF = keeping.derivative_NF = forward.x_NF.clone();  // in place
        keeping.y_NF = at::empty_like(forward.y_NF);
        kernels().bias_activation(keeping);
        EXPECT_TRUE(keeping.y_NF.equal(forward.y_NF)) << what;
        BiasActivationGradient kept{kind, {}, {}, {}, Single(d_y), at::empty({17, width}), biased ? at::ones({width}) : Tensor(), {}, false};
        kept.derivative_NF = keeping.derivative_NF;
        kernels().bias_activation_gradient(kept);
        ExpectClose(kept.d_x_NF, x.grad(), 3e-6, what + " d_x by the kept derivative");
        if (biased) ExpectClose(kept.d_bias_F, bias.grad(), 3e-6, what + " d_bias by the kept derivative");
      }
    }
  }
}

// The whole range of float32: tails vanish, nothing overflows on the way, NaN stays.
TEST_P(StepKernelsTest, GeluKeepsItsFormEverywhere) {
  const Tensor x = at::cat({at::linspace(-40.0, 40.0, 8001), at::tensor({-1e30f, 1e30f, 0.0f})}).view({1, -1});
  for (const auto kind : {ActivationKind::kGeluErf, ActivationKind::kGeluTanh}) {
    const char* form = kind == ActivationKind::kGeluErf ? "none" : "tanh";
    BiasActivation forward{kind, x, {}, {}, at::empty_like(x)};
    kernels().bias_activation(forward);
    const Tensor exact = at::gelu(x.to(kDouble), form);
    const Tensor near = x.abs().lt(50.0);
    EXPECT_LE((forward.y_NF.to(kDouble) - exact).masked_select(near).abs().max().item<double>(), 3e-6);
    // Two units in the last place of 2 to 4, and what a C library's tanh is off by.
    EXPECT_LE((forward.y_NF.to(kDouble) - exact).masked_select(x.abs().lt(3.0)).abs().max().item<double>(), 6e-7);
    EXPECT_EQ(forward.y_NF[0][8001].item<double>(), 0.0);
    EXPECT_EQ(forward.y_NF[0][8002].item<float>(), 1e30f);
    BiasActivation broken{kind, at::full({1, 9}, std::nan("")), {}, {}, at::empty({1, 9})};
    kernels().bias_activation(broken);
    EXPECT_TRUE(broken.y_NF.isnan().all().item<bool>());
  }
}

TEST_P(StepKernelsTest, ColumnSumsAddUp) {
  const Tensor wide = Random({1000, 50}, 1).to(torch::kFloat32), x = wide.narrow(1, 3, 37);
  ColumnSum call{x, at::ones({37}), false};
  kernels().column_sum(call);
  ExpectClose(call.out_F, x.to(kDouble).sum(0), 2e-6, "sum");
  call.accumulate = true;
  kernels().column_sum(call);
  ExpectClose(call.out_F, x.to(kDouble).sum(0) * 2.0, 2e-6, "twice");
}

TEST_P(StepKernelsTest, EmbeddingAndItsGradientAreAutograds) {
  const std::int64_t context = 6, width = 40;
  Tensor table = Random({5, width}, 1).set_requires_grad(true), positions = Random({8, width}, 2).set_requires_grad(true);
  const Tensor tokens = at::tensor({0, 1, 4, 4, 2, 0, 1, 1, 1, 3, 0, 4}, at::kLong), d_x = Random({12, width}, 3);
  const Tensor expected = (table.index_select(0, tokens).view({2, context, width}) + positions.narrow(0, 0, context)).view({12, width});
  (expected * d_x).sum().backward();
  const torch::NoGradGuard no_grad;
  Embedding forward{tokens, context, Single(table), Single(positions), at::empty({12, width})};
  kernels().embedding(forward);
  ExpectClose(forward.x_NC, expected, 1e-6, "x");
  EmbeddingGradient backward{tokens, context, Single(d_x), at::ones({5, width}), at::ones({8, width}), false};
  kernels().embedding_gradient(backward);
  ExpectClose(backward.d_table_VC, table.grad() + 1.0, 1e-6, "table");
  ExpectClose(backward.d_positions_PC, positions.grad(), 1e-6, "positions");
  backward.accumulate = true;
  kernels().embedding_gradient(backward);
  ExpectClose(backward.d_positions_PC, positions.grad() * 2.0, 1e-6, "positions twice");
}

Tensor Schedule(double lr, int step, double scale) {
  return at::tensor({lr, 1.0 - std::pow(0.9, step), 1.0 - std::pow(0.95, step), scale}, kDouble);
}

TEST_P(StepKernelsTest, NormAndUpdateAreThePrintedOnes) {
  const std::int64_t count = 5 * 1024;
  const Tensor gradient = Random({count}, 1).to(torch::kFloat32);
  Tensor p = Random({count}, 2), m = Random({count}, 3, 0.1), v = Random({count}, 4, 0.1).abs();
  for (const double max_norm : {0.0, 1.0, 1e6}) {
    GradientNorm norm{gradient, max_norm, Schedule(0.01, 3, 0.5), at::zeros({clip::kCount}, kDouble)};
    kernels().gradient_norm(norm);
    const double expected = gradient.to(kDouble).norm().item<double>() * 0.5;
    const double factor = max_norm > 0.0 ? 0.5 * std::min(1.0, max_norm / (expected + 1e-6)) : 0.5;
    EXPECT_NEAR(norm.clip[clip::kNorm].item<double>(), expected, 1e-6 * expected);
    EXPECT_NEAR(norm.clip[clip::kFactor].item<double>(), factor, 1e-6 * factor);
    EXPECT_EQ(norm.clip[clip::kFinite].item<double>(), 1.0);
    AdamWUpdate update{Single(p).clone(), gradient, Single(m).clone(), Single(v).clone(), at::zeros({count}, at::kBFloat16),
                       2000,              0.9,      0.95,              1e-8,              0.1,
                       norm.schedule,     norm.clip};
    kernels().adamw(update);
    const Tensor g = gradient.to(kDouble) * factor;
    const Tensor first = 0.9 * m + 0.1 * g, second = 0.95 * v + 0.05 * g.square();
    Tensor decayed = p.clone();
    decayed.narrow(0, 0, 2000).mul_(1.0 - 0.01 * 0.1);
    const Tensor after = decayed - 0.01 * (first / (1 - std::pow(0.9, 3))) / ((second / (1 - std::pow(0.95, 3))).sqrt() + 1e-8);
    ExpectClose(update.first_moment, first, 1e-6, "first moment");
    ExpectClose(update.second_moment, second, 1e-6, "second moment");
    ExpectClose(update.parameter, after, 1e-6, "parameter");
    EXPECT_TRUE(update.parameter_copy.equal(update.parameter.to(at::kBFloat16)));
  }
}

TEST_P(StepKernelsTest, GradientsThatAreNotFiniteChangeNothing) {
  Tensor gradient = at::ones({2048});
  gradient[1500] = std::nanf("");
  GradientNorm norm{gradient, 1.0, Schedule(0.01, 1, 1.0), at::zeros({clip::kCount}, kDouble)};
  kernels().gradient_norm(norm);
  EXPECT_TRUE(std::isnan(norm.clip[clip::kNorm].item<double>()));
  EXPECT_EQ(norm.clip[clip::kFinite].item<double>(), 0.0);
  AdamWUpdate update{at::ones({2048}), gradient, at::zeros({2048}), at::zeros({2048}), {}, 2048, 0.9, 0.95, 1e-8, 0.1, norm.schedule, norm.clip};
  kernels().adamw(update);
  EXPECT_TRUE(update.parameter.equal(at::ones({2048})));
  EXPECT_EQ(update.first_moment.abs().sum().item<float>(), 0.0f);
}

TEST_P(StepKernelsTest, OtherTypesFollowTheReference) {
  const Tensor x = Random({8, 24}, 1).to(at::kBFloat16), bias = Random({24}, 2).to(torch::kFloat32);
  BiasActivation mine{ActivationKind::kGeluErf, x, bias, {}, at::empty_like(x)};
  kernels().bias_activation(mine);
  EXPECT_TRUE(mine.y_NF.equal(at::gelu(x.to(torch::kFloat32) + bias).to(at::kBFloat16)));
}

// The same bits from any run at one number of threads.
TEST_P(StepKernelsTest, SumsRepeatTheirBits) {
  const Tensor x = Random({3000, 96}, 1).to(torch::kFloat32);
  const auto sums = [&] {
    ColumnSum call{x, at::empty({96}), false};
    kernels().column_sum(call);
    return call.out_F;
  };
  const Tensor first = sums();
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(sums().equal(first));
}

}  // namespace
}  // namespace entrain::kernels
