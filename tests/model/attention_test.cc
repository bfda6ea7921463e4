// The attention operator: gradients against autograd and finite differences, closed forms, limits.
#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <cmath>
#include <cstdlib>
#include <string>

#include "gtest/gtest.h"
#include "model/initialisation.h"
#include "model/kernels/entropy_attention.h"
#include "tests/model/attention_cases.h"

namespace entrain::kernels {
namespace {

using torch::Tensor;

// Tests run beside each other; torch's own threads would only fight over the cores.
const bool kOneThread = (at::set_num_threads(1), true);

using Case = AttentionCase;

Tensor Random(const Case& c, const std::string& name, torch::Dtype dtype = torch::kFloat32) { return CaseTensor(c, name, dtype); }

Evaluation Evaluate(const Case& c, const std::string& backend, torch::Dtype dtype, bool through_entropy) {
  const Tensor q = Random(c, "q", dtype).set_requires_grad(true), k = Random(c, "k", dtype).set_requires_grad(true),
               v = Random(c, "v", dtype).set_requires_grad(true);
  AttentionOptions options;
  options.scale = c.scale;
  options.causal = c.causal;
  options.backend = backend;
  options.differentiable_entropy = through_entropy;
  const AttentionResult result = EntropyAttention(q, k, v, options);
  const Tensor weight_out = Random(c, "weight_out", dtype);
  Tensor loss = (result.out * weight_out).sum();
  if (through_entropy) loss = loss + (result.entropy_BHT * weight_out.select(3, 0)).sum();
  loss.backward();
  return {result.out.detach(), result.entropy_BHT.detach(), result.max_abs_score_BH, q.grad(), k.grad(), v.grad()};
}

// Those that run on this machine.
std::vector<const AttentionBackend*> Usable() {
  std::vector<const AttentionBackend*> usable;
  const Tensor probe = at::zeros({1, 1, 4, 16});
  for (const AttentionBackend* backend : AttentionBackends()) {
    if (backend->supports({probe, probe, probe})) usable.push_back(backend);
  }
  return usable;
}

TEST(Attention, AMachineWithAvx2UsesIt) {
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || std::getenv("ENTRAIN_CPU_ISA") != nullptr) return;
  const Tensor probe = at::zeros({1, 1, 4, 16});
  EXPECT_NE(FindAttentionBackend("cpu-avx2", {probe, probe, probe}), nullptr);
  EXPECT_TRUE(FindAttentionBackend("", {probe, probe, probe})->name.starts_with("cpu-avx"));
}

// The same mathematics from stock differentiable operators.
TEST(Attention, AgreesWithAutogradInDoublePrecision) {
  for (const Case& c : AttentionCases()) {
    if (!c.causal || c.scale > 1.0 || c.tokens > 500) continue;
    const Evaluation got = Evaluate(c, "loops", torch::kFloat64, true);
    const Tensor q = Random(c, "q", torch::kFloat64).set_requires_grad(true),
                 k = Random(c, "k", torch::kFloat64).set_requires_grad(true),
                 v = Random(c, "v", torch::kFloat64).set_requires_grad(true);
    const double scale = c.scale != 0.0 ? c.scale : 1.0 / std::sqrt(static_cast<double>(c.width));
    const Tensor mask = at::ones({c.tokens, c.tokens}, at::kBool).triu(1);
    const Tensor log_p = (at::matmul(q, k.transpose(2, 3)) * scale).masked_fill(mask, -1e300).log_softmax(-1);
    const Tensor p = log_p.exp();
    const Tensor entropy = -(p * log_p.masked_fill(mask, 0.0)).sum(-1);
    const Tensor weight_out = Random(c, "weight_out", torch::kFloat64);
    const Tensor out = at::matmul(p, v);
    ((out * weight_out).sum() + (entropy * weight_out.select(3, 0)).sum()).backward();
    ExpectSame(got, {out.detach(), entropy.detach(), got.max_abs, q.grad(), k.grad(), v.grad()}, {torch::kFloat64, 1e-12, 1e-12},
               Describe(c));
  }
}

// Central differences of every input of the packed form, in double precision.
TEST(Attention, GradientsMatchFiniteDifferences) {
  const std::int64_t batch = 2, tokens = 5, heads = 2, width = 3;
  const auto random = [](at::IntArrayRef shape, const char* name) {
    return model::SeededNormal(shape, 1.0, 3, name, torch::kFloat64);
  };
  const Tensor weight_out = random({batch, tokens, heads, width}, "w"), weight_entropy = random({batch, heads, tokens}, "g");
  const auto loss = [&](const Tensor& qkv, const Tensor& query_scale) {
    const AttentionResult result = EntropyAttentionPacked(qkv, query_scale);
    return (result.out * weight_out).sum() + (result.entropy_BHT * weight_entropy).sum();
  };
  const Tensor qkv = random({batch, tokens, 3, heads, width}, "qkv").set_requires_grad(true);
  const Tensor query_scale = (random({heads, tokens}, "t") * 0.3 + 1.0).detach().set_requires_grad(true);
  loss(qkv, query_scale).backward();
  const torch::NoGradGuard no_grad;
  for (const Tensor& input : {qkv, query_scale}) {
    const Tensor flat = input.view({-1}), gradient = input.grad().reshape({-1});
    for (std::int64_t i = 0; i < flat.numel(); ++i) {
      const double step = 1e-6, value = flat[i].item<double>();
      flat[i] = value + step;
      const double above = loss(qkv, query_scale).item<double>();
      flat[i] = value - step;
      const double below = loss(qkv, query_scale).item<double>();
      flat[i] = value;
      EXPECT_NEAR(gradient[i].item<double>(), (above - below) / (2 * step), 2e-8) << i;
    }
  }
}

TEST(Attention, PackedFormEqualsSplitForm) {
  const Tensor qkv = model::SeededNormal({2, 9, 3, 4, 16}, 1.0, 5, "qkv", torch::kFloat32).set_requires_grad(true);
  const Tensor split = qkv.detach().clone().set_requires_grad(true);
  const auto third = [&](std::int64_t i) { return split.select(2, i).transpose(1, 2); };
  const AttentionResult packed = EntropyAttentionPacked(qkv, {});
  const AttentionResult separate = EntropyAttention(third(0), third(1), third(2));
  EXPECT_TRUE(packed.out.transpose(1, 2).equal(separate.out));
  EXPECT_TRUE(packed.entropy_BHT.equal(separate.entropy_BHT));
  (packed.out.square().sum() + packed.entropy_BHT.sum()).backward();
  (separate.out.square().sum() + separate.entropy_BHT.sum()).backward();
  EXPECT_TRUE(qkv.grad().equal(split.grad()));
}

TEST(Attention, UniformScoresGiveTheLogarithmOfTheNumberOfKeys) {
  const Tensor zero = at::zeros({1, 1, 40, 16});
  const AttentionResult result = EntropyAttention(zero, zero, zero);
  for (std::int64_t i = 0; i < 40; ++i) {
    EXPECT_NEAR(result.entropy_BHT[0][0][i].item<double>(), std::log(static_cast<double>(i + 1)), 1e-6);
  }
  EXPECT_EQ(result.max_abs_score_BH.item<float>(), 0.0f);
}

// Two keys whose scores differ by `gap`: p = 1 / (1 + e^-gap). At an entropy of 0.01 and scores of 1e4 a sum of unshifted scores would have none left.
TEST(Attention, NearlyCollapsedRowsKeepTheirDigits) {
  for (const double gap : {6.5, 12.0, 20.0}) {
    Tensor q = at::ones({1, 1, 2, 16}), k = at::full({1, 1, 2, 16}, 625.0);
    k.select(2, 1).add_(gap / 16.0);
    AttentionOptions options;
    options.scale = 1.0;
    for (const AttentionBackend* backend : Usable()) {
      options.backend = std::string(backend->name);
      const double entropy = EntropyAttention(q, k, k, options).entropy_BHT[0][0][1].item<double>();
      const double rest = std::exp(-gap);
      const double expected = std::log1p(rest) + gap * rest / (1.0 + rest);
      // l = 1 + e^-gap is itself rounded to a float.
      EXPECT_NEAR(entropy, expected, 2e-5 * expected + 0x1.0p-23) << backend->name << " gap " << gap;
    }
  }
}

TEST(Attention, OneKeyHasNoEntropyAndNoGradientThroughScores) {
  const Case one{3, 2, 1, 16};
  for (const AttentionBackend* backend : Usable()) {
    const Evaluation run = Evaluate(one, std::string(backend->name), torch::kFloat32, true);
    EXPECT_EQ(run.entropy.abs().max().item<float>(), 0.0f) << backend->name;
    EXPECT_EQ(run.dq.abs().max().item<float>(), 0.0f) << backend->name;
    EXPECT_EQ(run.dk.abs().max().item<float>(), 0.0f) << backend->name;
  }
}

// Scores of 1e30 are far beyond exp's range, and their sum with a logarithm has no digits left.
TEST(Attention, EnormousScoresStayFinite) {
  const Case c{1, 2, 33, 16, true, 1e29};
  for (const AttentionBackend* backend : Usable()) {
    const Evaluation run = Evaluate(c, std::string(backend->name), torch::kFloat32, true);
    for (const Tensor& tensor : {run.out, run.entropy, run.max_abs, run.dv}) {
      EXPECT_TRUE(tensor.isfinite().all().item<bool>()) << backend->name;
    }
    EXPECT_GE(run.entropy.min().item<float>(), 0.0f);
  }
}

TEST(Attention, NonFiniteInputsShowInTheResult) {
  for (const AttentionBackend* backend : Usable()) {
    if (backend->name == "loops") continue;
    Tensor q = at::ones({1, 1, 8, 16});
    q[0][0][3][2] = std::nan("");
    AttentionOptions options;
    options.backend = std::string(backend->name);
    const AttentionResult result = EntropyAttention(q, at::ones_like(q), at::ones_like(q), options);
    EXPECT_TRUE(std::isnan(result.out[0][0][3][0].item<float>())) << backend->name;
    EXPECT_TRUE(std::isnan(result.max_abs_score_BH.item<float>())) << backend->name;
    EXPECT_TRUE(std::isfinite(result.out[0][0][2][0].item<float>())) << backend->name;
  }
}

TEST(Attention, EpsilonEntropyApproachesTheExactOne) {
  const Case c{2, 2, 20, 16};
  const Tensor q = Random(c, "q", torch::kFloat64), k = Random(c, "k", torch::kFloat64);
  const Tensor exact = EntropyAttention(q, k, k).entropy_BHT;
  ExpectNear(EpsilonEntropy(q, k, 0.25, 1e-9), exact, 1e-7, "eps 1e-9");
  EXPECT_GE(EpsilonEntropy(q, k, 0.25, 1e-9).min().item<double>(), -1.01e-9);
}

}  // namespace
}  // namespace entrain::kernels
