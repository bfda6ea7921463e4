// Every attention back end over the table of attention_cases.cc: against plain loops, against autograd, against two stock flash calls.
#include <ATen/Parallel.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>

#include <cstdlib>
#include <map>

#include "gtest/gtest.h"
#include "model/kernels/backends.h"
#include "tests/model/attention_cases.h"

namespace entrain::kernels {
namespace {

using torch::Tensor;

std::string Label(const BackendUnderTest& tested, const Precision& precision, const AttentionCase& c) {
  return std::string(tested.backend->name) + " " + c10::toString(precision.dtype) + " " + Describe(c);
}

TEST(AttentionBackends, AllAgreeWithPlainLoops) {
  for (const AttentionCase& c : AttentionCases()) {
    for (const Through through : {Through::kOut, Through::kEntropy, Through::kBoth}) {
      // The loops take their time; long cases are for the cutting of queries into ranges.
      if (c.tokens > 500 && through != Through::kBoth) continue;
      // The oracle takes the very numbers that the storage holds.
      std::map<torch::Dtype, Evaluation> oracles;
      const auto oracle = [&](torch::Dtype storage) {
        if (storage == torch::kFloat64) storage = torch::kFloat32;
        if (const auto known = oracles.find(storage); known != oracles.end()) return known->second;
        AttentionInputs inputs = CaseInputs(c, storage);
        for (Tensor* x : {&inputs.q_BHTD, &inputs.k_BHTD, &inputs.v_BHTD}) *x = x->to(torch::kFloat64);
        return oracles[storage] = RunBackend(LoopsBackend(), inputs, c, through);
      };
      for (const BackendUnderTest& tested : BackendsUnderTest()) {
        for (const Precision& precision : tested.precisions) {
          if (tested.backend == &LoopsBackend()) continue;
          const Evaluation got = RunBackend(*tested.backend, CaseInputs(c, precision.dtype, tested.device), c, through);
          ExpectSame(got, oracle(precision.dtype), precision, Label(tested, precision, c));
        }
      }
    }
  }
}

// Stock operators only: flash(q,k,v), then flash(q,k,k) for E = scale q (p k), H = LSE - E; backward a second flash backward on (q,k,k)
// with output gradient -scale g q, its dv discarded.
Evaluation FromTwoFlashCalls(const AttentionInputs& inputs, const AttentionCase& c) {
  const auto scale = std::optional<double>(inputs.scale);
  const Tensor q = inputs.q_BHTD.contiguous(), k = inputs.k_BHTD.contiguous(), v = inputs.v_BHTD.contiguous();
  const auto forward = [&](const Tensor& values) {
    return at::_scaled_dot_product_flash_attention_for_cpu(q, k, values, 0.0, inputs.causal, {}, scale);
  };
  const auto [out, log_sum_exp] = forward(v);
  const auto [mean_k, unused] = forward(k);
  const Tensor entropy = log_sum_exp - inputs.scale * (q * mean_k).sum(-1);
  const Tensor d_out = CaseTensor(c, "weight_out", q.scalar_type());
  const Tensor d_entropy = d_out.select(3, 0);
  const auto backward = [&](const Tensor& d, const Tensor& values, const Tensor& result) {
    return at::_scaled_dot_product_flash_attention_for_cpu_backward(d.contiguous(), q, k, values, result, log_sum_exp, 0.0, inputs.causal,
                                                                    {}, scale);
  };
  const auto [dq, dk, dv] = backward(d_out, v, out);
  const auto [dq_entropy, dk_entropy, discarded] = backward(-inputs.scale * d_entropy.unsqueeze(3) * q, k, mean_k);
  return {out, entropy, {}, dq + dq_entropy, dk + dk_entropy, dv};
}

TEST(AttentionBackends, AllAgreeWithTwoStockFlashCalls) {
  for (const AttentionCase& c : AttentionCases()) {
    // LSE - E has no digits left at large scores, in double precision neither beyond these.
    if (c.scale > 100.0) continue;
    Evaluation expected = FromTwoFlashCalls(CaseInputs(c, torch::kFloat64), c);
    for (const BackendUnderTest& tested : BackendsUnderTest()) {
      for (const Precision& precision : tested.precisions) {
        if (StatisticsType(precision.dtype) != precision.dtype) continue;
        const Evaluation got = RunBackend(*tested.backend, CaseInputs(c, precision.dtype, tested.device), c, Through::kBoth);
        expected.max_abs = got.max_abs;
        ExpectSame(got, expected, {precision.dtype, std::max(precision.out, 1e-11), std::max(precision.statistics, 1e-11)},
                   Label(tested, precision, c));
      }
    }
  }
}

// Uneven work, heads fewer than threads, ranges that end within a tile.
TEST(AttentionBackends, TheNumberOfThreadsChangesNoBit) {
  const AttentionCase cases[] = {{1, 1, 1100, 32}, {1, 3, 1537, 16}, {2, 5, 70, 20}, {1, 1, 1030, 16, false, 0.0, false}};
  const int before = at::get_num_threads();
  for (const BackendUnderTest& tested : BackendsUnderTest()) {
    if (!tested.backend->name.starts_with("cpu-")) continue;
    for (const AttentionCase& c : cases) {
      const auto run = [&](int threads) {
        at::set_num_threads(threads);
        return RunBackend(*tested.backend, CaseInputs(c, torch::kFloat32), c, Through::kBoth);
      };
      const Evaluation one = run(1);
      for (const int threads : {2, 3, 7}) {
        const Evaluation many = run(threads);
        for (const auto member : {&Evaluation::out, &Evaluation::entropy, &Evaluation::max_abs, &Evaluation::dq, &Evaluation::dk,
                                  &Evaluation::dv}) {
          EXPECT_TRUE((many.*member).equal(one.*member)) << tested.backend->name << " " << Describe(c) << " threads " << threads;
        }
      }
    }
  }
  at::set_num_threads(before);
}

// With collapsed rows dS is 0 exactly, so that nothing leaks through a head that looks at one key.
TEST(AttentionBackends, CollapsedRowsHaveNoGradientThroughScores) {
  const AttentionCase c{1, 2, 200, 32};
  for (const BackendUnderTest& tested : BackendsUnderTest()) {
    for (const Precision& precision : tested.precisions) {
      AttentionInputs inputs = CaseInputs(c, precision.dtype, tested.device);
      // Key 0 beats every other by far more than exp's range.
      inputs.k_BHTD.zero_();
      inputs.k_BHTD.select(2, 0).fill_(4.0);
      inputs.q_BHTD.fill_(64.0);
      const Evaluation run = RunBackend(*tested.backend, inputs, c, Through::kBoth);
      const std::string label = Label(tested, precision, c);
      EXPECT_EQ(run.entropy.abs().max().item<double>(), 0.0) << label;
      EXPECT_EQ(run.dq.abs().max().item<double>(), 0.0) << label;
      EXPECT_EQ(run.dk.abs().max().item<double>(), 0.0) << label;
      EXPECT_TRUE(run.out.select(2, 199).equal(inputs.v_BHTD.select(2, 0).cpu())) << label;
    }
  }
}

// Temperatures far from 1, folded into q; the gradient is a row's product of q and dq.
TEST(AttentionBackends, TemperatureExtremes) {
  for (const double temperature : {0x1.0p-10, 0x1.0p-3, 0x1.0p3, 0x1.0p10}) {
    const AttentionCase c{2, 2, 70, 16, true, 0.25};
    const auto run = [&](const std::string& backend, torch::Dtype dtype) {
      const AttentionInputs inputs = CaseInputs(c, dtype);
      const Tensor qkv_BT3HD =
          at::stack({inputs.q_BHTD, inputs.k_BHTD, inputs.v_BHTD}, 0).permute({1, 3, 0, 2, 4}).contiguous().set_requires_grad(true);
      const Tensor query_scale_HT = at::full({c.heads, c.tokens}, temperature, qkv_BT3HD.options()).set_requires_grad(true);
      AttentionOptions options;
      options.scale = c.scale;
      options.backend = backend;
      const AttentionResult result = EntropyAttentionPacked(qkv_BT3HD, query_scale_HT, options);
      const Tensor weight = CaseTensor(c, "weight_out", dtype);
      ((result.out.transpose(1, 2) * weight).sum() + (result.entropy_BHT * weight.select(3, 0)).sum()).backward();
      return std::vector<Tensor>{result.out.detach(), result.entropy_BHT.detach(), qkv_BT3HD.grad(), query_scale_HT.grad()};
    };
    const auto expected = run("loops", torch::kFloat64);
    const auto got = run("", torch::kFloat32);
    for (std::size_t i = 0; i < got.size(); ++i) ExpectNear(got[i], expected[i], 2e-5, "temperature " + std::to_string(temperature));
  }
}

TEST(AttentionBackends, TheKernelWithoutEntropyGivesTheSameOutput) {
  const AttentionCase c{2, 3, 130, 32};
  const AttentionInputs inputs = CaseInputs(c, torch::kFloat32);
  for (const BackendUnderTest& tested : BackendsUnderTest()) {
    AttentionOptions options;
    options.backend = std::string(tested.backend->name);
    if (FindAttentionBackend(options.backend, inputs) == nullptr) continue;
    options.entropy = false;
    const AttentionResult without = EntropyAttention(inputs.q_BHTD, inputs.k_BHTD, inputs.v_BHTD, options);
    options.entropy = true;
    const AttentionResult with = EntropyAttention(inputs.q_BHTD, inputs.k_BHTD, inputs.v_BHTD, options);
    EXPECT_FALSE(without.entropy_BHT.defined());
    EXPECT_TRUE(without.out.equal(with.out)) << options.backend;
  }
}

// The environment variable for one test.
class IsaVariable {
 public:
  explicit IsaVariable(const char* value) : before_(std::getenv("ENTRAIN_CPU_ISA") != nullptr ? std::getenv("ENTRAIN_CPU_ISA") : "") {
    setenv("ENTRAIN_CPU_ISA", value, 1);
  }
  ~IsaVariable() { setenv("ENTRAIN_CPU_ISA", before_.c_str(), 1); }

 private:
  std::string before_;
};

TEST(AttentionBackends, AnInstructionSetCanBeForced) {
  const Tensor x = at::zeros({1, 1, 4, 16});
  const AttentionInputs inputs{x, x, x};
  {
    const IsaVariable forced("reference");
    EXPECT_EQ(FindAttentionBackend("", inputs)->name, "reference");
    EXPECT_TRUE(!Avx2Backend().supports(inputs) || FindAttentionBackend("cpu-avx2", inputs) == &Avx2Backend());
  }
  for (const auto& [isa, backend] : {std::pair{"avx2", &Avx2Backend()}, std::pair{"avx512", &Avx512Backend()}}) {
    const IsaVariable forced(isa);
    if (backend->supports(inputs)) {
      EXPECT_EQ(FindAttentionBackend("", inputs), backend);
      continue;
    }
    try {
      FindAttentionBackend("", inputs);
      ADD_FAILURE() << isa;
    } catch (const c10::Error& error) {
      EXPECT_NE(std::string(error.what()).find("this machine lacks"), std::string::npos) << error.what();
    }
  }
  const IsaVariable unknown("sse9");
  EXPECT_THROW(FindAttentionBackend("", inputs), c10::Error);
}

}  // namespace
}  // namespace entrain::kernels
