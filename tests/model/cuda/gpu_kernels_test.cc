// The kernels on a GPU: attention over the table of every back end in every type, and the step's other parts, against the CPU in double
// precision; repeated bits; capture in a CUDA graph. tests/model/cuda's emulation runs the same source without a GPU.
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/torch.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "model/initialisation.h"
#include "model/kernels/backends.h"
#include "model/kernels/step_kernels.h"
#include "tests/model/attention_cases.h"

namespace entrain::kernels {
namespace {

using torch::Tensor;

class GpuKernelsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!torch::cuda::is_available()) GTEST_SKIP() << "no GPU: torch::cuda::is_available() is false";
  }
};

const std::vector<Precision> kPrecisions = {
    {torch::kFloat32, 4e-6, 4e-6}, {torch::kBFloat16, 1.2e-2, 2e-5}, {torch::kFloat16, 1.5e-3, 2e-5}};

TEST_F(GpuKernelsTest, AttentionAgreesWithPlainLoopsInEveryType) {
  for (const AttentionCase& c : AttentionCases()) {
    if (c.width > 128) continue;
    for (const Precision& precision : kPrecisions) {
      if (precision.dtype == torch::kFloat16 && c.scale > 100.0) continue;  // gradients beyond the type's range
      for (const Through through : {Through::kOut, Through::kEntropy, Through::kBoth}) {
        AttentionInputs wide = CaseInputs(c, precision.dtype);
        for (Tensor* x : {&wide.q_BHTD, &wide.k_BHTD, &wide.v_BHTD}) *x = x->to(torch::kFloat64);
        const Evaluation expected = RunBackend(LoopsBackend(), wide, c, through);
        for (const bool deterministic : {false, true}) {
          AttentionInputs inputs = CaseInputs(c, precision.dtype, torch::kCUDA);
          inputs.deterministic = deterministic;
          ASSERT_TRUE(CudaBackend().supports(inputs)) << Describe(c);
          ExpectSame(RunBackend(CudaBackend(), inputs, c, through), expected, precision,
                     std::string(c10::toString(precision.dtype)) + (deterministic ? " deterministic " : " fast ") + Describe(c));
        }
      }
    }
  }
}

AttentionInputs RandomInputs(torch::Dtype dtype, std::int64_t tokens, bool deterministic) {
  const AttentionCase c{2, 4, tokens, 64};
  AttentionInputs inputs = CaseInputs(c, dtype, torch::kCUDA);
  inputs.deterministic = deterministic;
  return inputs;
}

TEST_F(GpuKernelsTest, TheDeterministicBackwardRepeatsItsBits) {
  const AttentionCase c{2, 4, 1000, 64};
  for (const torch::Dtype dtype : {torch::kFloat32, torch::kBFloat16, torch::kFloat16}) {
    const AttentionInputs inputs = RandomInputs(dtype, c.tokens, true);
    const Evaluation first = RunBackend(CudaBackend(), inputs, c, Through::kBoth);
    for (int i = 0; i < 5; ++i) {
      const Evaluation again = RunBackend(CudaBackend(), inputs, c, Through::kBoth);
      EXPECT_TRUE(again.dq.equal(first.dq) && again.dk.equal(first.dk) && again.dv.equal(first.dv)) << c10::toString(dtype);
      EXPECT_TRUE(again.out.equal(first.out) && again.entropy.equal(first.entropy)) << c10::toString(dtype);
    }
  }
}

TEST_F(GpuKernelsTest, AttentionWithoutEntropyGivesTheSameOutput) {
  const AttentionInputs inputs = RandomInputs(torch::kBFloat16, 513, true);
  const auto statistics = inputs.q_BHTD.options().dtype(torch::kFloat32);
  const auto forward = [&](bool entropy) {
    const auto rows = [&] { return at::empty({2, 4, 513}, statistics); };
    AttentionOutputs outputs{at::empty_like(inputs.q_BHTD), entropy ? rows() : Tensor(), rows(), rows(), at::empty({2, 4}, statistics)};
    CudaBackend().forward(inputs, outputs);
    return outputs;
  };
  const AttentionOutputs with = forward(true), without = forward(false);
  EXPECT_TRUE(with.out_BHTD.equal(without.out_BHTD));
  EXPECT_TRUE(with.max_abs_score_BH.equal(without.max_abs_score_BH));
}

// Memory linear in T: 32768 tokens, whose weights would take 4 GiB a head.
TEST_F(GpuKernelsTest, LongSequencesNeedNoMatrix) {
  const auto options = at::TensorOptions().device(at::kCUDA).dtype(at::kBFloat16);
  const Tensor q = at::randn({1, 2, 32768, 64}, options).set_requires_grad(true);
  const AttentionResult result = EntropyAttention(q, q, q);
  (result.out.to(torch::kFloat32).sum() + result.entropy_BHT.sum()).backward();
  EXPECT_TRUE(q.grad().isfinite().all().item<bool>());
  EXPECT_LE(result.entropy_BHT.max().item<double>(), std::log(32768.0) + 1e-4);
}

// Runs work directly, then captured and replayed on the same inputs.
void ExpectSameWhenReplayed(const std::function<std::vector<Tensor>()>& work, const std::string& what) {
  const c10::cuda::CUDAStream side = c10::cuda::getStreamFromPool();
  const c10::cuda::CUDAStreamGuard guard(side);
  std::vector<Tensor> direct;
  for (const Tensor& x : work()) direct.push_back(x.clone());
  side.synchronize();
  at::cuda::CUDAGraph graph;
  graph.capture_begin();
  const std::vector<Tensor> captured = work();
  graph.capture_end();
  for (const Tensor& x : captured) x.detach().zero_();
  graph.replay();
  side.synchronize();
  for (std::size_t i = 0; i < direct.size(); ++i) EXPECT_TRUE(captured[i].equal(direct[i])) << what << " result " << i;
}

TEST_F(GpuKernelsTest, AttentionCanBeCaptured) {
  for (const torch::Dtype dtype : {torch::kFloat32, torch::kBFloat16}) {
    const AttentionInputs inputs = RandomInputs(dtype, 300, true);
    const auto statistics = inputs.q_BHTD.options().dtype(torch::kFloat32);
    const Tensor d_out = at::randn(inputs.q_BHTD.sizes(), inputs.q_BHTD.options()), d_entropy = at::randn({2, 4, 300}, statistics);
    ExpectSameWhenReplayed(
        [&] {
          const auto rows = [&] { return at::empty({2, 4, 300}, statistics); };
          AttentionOutputs outputs{at::empty_like(inputs.q_BHTD), rows(), rows(), rows(), at::empty({2, 4}, statistics)};
          CudaBackend().forward(inputs, outputs);
          AttentionInputGradients gradients{at::empty_like(inputs.q_BHTD), at::empty_like(inputs.k_BHTD), at::empty_like(inputs.v_BHTD)};
          CudaBackend().backward(inputs, outputs, {d_out, d_entropy}, gradients);
          return std::vector<Tensor>{outputs.out_BHTD,          outputs.entropy_BHT, outputs.max_abs_score_BH,
                                     gradients.dq_BHTD, gradients.dk_BHTD,   gradients.dv_BHTD};
        },
        c10::toString(dtype));
  }
}

// A call on the GPU and the reference in double precision on the CPU, from the same numbers.
struct Both {
  Tensor gpu, cpu;
};

Both Pair(std::vector<std::int64_t> shape, const char* name, torch::Dtype dtype = torch::kFloat32, double scale = 1.0) {
  const Tensor rounded = (model::SeededNormal(shape, 1.0, 9, name, torch::kFloat32).detach() * scale).to(dtype);
  return {rounded.to(torch::kCUDA), rounded.to(torch::kFloat64)};
}

void ExpectClose(const Both& both, double share, const std::string& what) {
  const double largest = std::max(both.cpu.abs().max().item<double>(), 1e-30);
  EXPECT_LE((both.gpu.cpu().to(torch::kFloat64) - both.cpu).abs().max().item<double>(), share * largest) << what;
}

double ShareOf(torch::Dtype dtype) { return dtype == torch::kFloat32 ? 1e-5 : 1e-2; }

TEST_F(GpuKernelsTest, CrossEntropyIsTheReferences) {
  for (const torch::Dtype dtype : {torch::kFloat32, torch::kBFloat16, torch::kFloat16}) {
    for (const std::int64_t columns : {50304, 50301, 37}) {
      const std::int64_t rows = 6, vocabulary = columns - 3;
      Both logits = Pair({rows, columns}, "logits", dtype, 3.0), loss = Pair({rows}, "loss"), weight = Pair({1}, "weight");
      Tensor labels = at::arange(rows) * 5;
      labels[2] = -100;
      CudaStepKernels().cross_entropy({logits.gpu, labels.cuda(), vocabulary, loss.gpu, true, weight.gpu.view({})});
      ReferenceStepKernels().cross_entropy({logits.cpu, labels, vocabulary, loss.cpu, true, weight.cpu.view({})});
      ExpectClose(loss, 1e-5, "loss");
      ExpectClose(logits, ShareOf(dtype), "gradient of the logits, columns " + std::to_string(columns));
    }
  }
}

TEST_F(GpuKernelsTest, ResidualNormAndItsGradientAreTheReferences) {
  for (const torch::Dtype dtype : {torch::kFloat32, torch::kBFloat16, torch::kFloat16}) {
    for (const std::int64_t width : {192, 768, 1024, 1600, 4096, 77}) {
      const std::int64_t rows = 1000;
      const Both residual = Pair({rows, width}, "residual"), delta = Pair({rows, width}, "delta", dtype), bias = Pair({width}, "bias"),
                 gain = Pair({width}, "gain"), shift = Pair({width}, "shift");
      Both sum = Pair({rows, width}, "0"), normed = Pair({rows, width}, "0", dtype), mean = Pair({rows}, "0"), inverse = Pair({rows}, "0");
      CudaStepKernels().residual_norm(
          {residual.gpu, delta.gpu, bias.gpu, gain.gpu, shift.gpu, 1e-5, sum.gpu, normed.gpu, mean.gpu, inverse.gpu});
      ReferenceStepKernels().residual_norm(
          {residual.cpu, delta.cpu, bias.cpu, gain.cpu, shift.cpu, 1e-5, sum.cpu, normed.cpu, mean.cpu, inverse.cpu});
      const std::string what = std::string(c10::toString(dtype)) + " width " + std::to_string(width);
      ExpectClose(sum, 1e-5, what + " sum");
      ExpectClose(normed, ShareOf(dtype), what + " normed");
      const Both d_normed = Pair({rows, width}, "d_normed", dtype);
      Both d_sum = Pair({rows, width}, "d_sum"), d_delta = Pair({rows, width}, "0", dtype), d_gain = Pair({width}, "0"),
           d_shift = Pair({width}, "0"), d_bias = Pair({width}, "0");
      CudaStepKernels().residual_norm_gradient({d_normed.gpu, sum.gpu, mean.gpu, inverse.gpu, gain.gpu, d_sum.gpu, d_delta.gpu,
                                                d_gain.gpu, d_shift.gpu, d_bias.gpu, false});
      ReferenceStepKernels().residual_norm_gradient({d_normed.cpu, sum.cpu, mean.cpu, inverse.cpu, gain.cpu, d_sum.cpu, d_delta.cpu,
                                                     d_gain.cpu, d_shift.cpu, d_bias.cpu, false});
      ExpectClose(d_sum, 1e-5, what + " d_sum");
      ExpectClose(d_delta, ShareOf(dtype), what + " d_delta");
      for (const auto& [got, name] : {std::pair(d_gain, " d_gain"), {d_shift, " d_shift"}, {d_bias, " d_bias"}}) {
        ExpectClose(got, 2e-5, what + name);
      }
    }
  }
}

TEST_F(GpuKernelsTest, BiasAndActivationAreTheReferences) {
  for (const torch::Dtype dtype : {torch::kFloat32, torch::kBFloat16, torch::kFloat16}) {
    for (const ActivationKind kind : {ActivationKind::kIdentity, ActivationKind::kRelu, ActivationKind::kLeakyRelu,
                                      ActivationKind::kGeluErf, ActivationKind::kGeluTanh}) {
      for (const std::int64_t columns : {3072, 770, 5}) {
        const std::int64_t rows = 500;
        const Both x = Pair({rows, columns}, "x", dtype), bias = Pair({columns}, "bias"), slope = Pair({1}, "slope"),
                   d_y = Pair({rows, columns}, "d_y", dtype);
        Both y = Pair({rows, columns}, "0", dtype), d_x = Pair({rows, columns}, "0", dtype), d_bias = Pair({columns}, "0"),
             d_slope = Pair({1}, "0");
        CudaStepKernels().bias_activation({kind, x.gpu, bias.gpu, slope.gpu, y.gpu});
        ReferenceStepKernels().bias_activation({kind, x.cpu, bias.cpu, slope.cpu, y.cpu});
        CudaStepKernels().bias_activation_gradient({kind, x.gpu, bias.gpu, slope.gpu, d_y.gpu, d_x.gpu, d_bias.gpu, d_slope.gpu, false});
        ReferenceStepKernels().bias_activation_gradient({kind, x.cpu, bias.cpu, slope.cpu, d_y.cpu, d_x.cpu, d_bias.cpu, d_slope.cpu, false});
        const std::string what = std::string(c10::toString(dtype)) + " columns " + std::to_string(columns);
        ExpectClose(y, ShareOf(dtype), what + " value");
        ExpectClose(d_x, ShareOf(dtype), what + " gradient");
        ExpectClose(d_bias, 2e-5, what + " bias");
        if (kind == ActivationKind::kLeakyRelu) ExpectClose(d_slope, 2e-5, what + " slope");
      }
    }
  }
}

TEST_F(GpuKernelsTest, EmbeddingIsTheReferences) {
  const std::int64_t batch = 7, context = 33, width = 192, vocabulary = 50;
  const Tensor tokens = (at::arange(batch * context) * 11).remainder(vocabulary);
  const Both table = Pair({vocabulary, width}, "table"), positions = Pair({40, width}, "positions"), d_x = Pair({batch * context, width}, "d_x");
  Both x = Pair({batch * context, width}, "0"), d_table = Pair({vocabulary, width}, "d_table"), d_positions = Pair({40, width}, "d_positions");
  CudaStepKernels().embedding({tokens.cuda(), context, table.gpu, positions.gpu, x.gpu});
  ReferenceStepKernels().embedding({tokens, context, table.cpu, positions.cpu, x.cpu});
  CudaStepKernels().embedding_gradient({tokens.cuda(), context, d_x.gpu, d_table.gpu, d_positions.gpu, false});
  ReferenceStepKernels().embedding_gradient({tokens, context, d_x.cpu, d_table.cpu, d_positions.cpu, false});
  ExpectClose(x, 1e-6, "x");
  ExpectClose(d_table, 1e-5, "d_table");
  ExpectClose(d_positions, 1e-5, "d_positions");
}

TEST_F(GpuKernelsTest, TheOptimiserIsTheReferences) {
  const std::int64_t count = 1024 * 1500;
  const Both gradient = Pair({count}, "gradient");
  Both parameter = Pair({count}, "parameter"), first = Pair({count}, "first"), second = Pair({count}, "second");
  second.gpu.square_();
  second.cpu.square_();
  const Tensor schedule = at::tensor({1e-3, 0.1, 0.05, 0.5}, torch::kFloat64);
  Tensor clip = at::zeros({clip::kCount}, torch::kFloat64), gpu_clip = clip.cuda();
  CudaStepKernels().gradient_norm({gradient.gpu, 1.0, schedule.cuda(), gpu_clip});
  ReferenceStepKernels().gradient_norm({gradient.cpu, 1.0, schedule, clip});
  ExpectClose({gpu_clip, clip}, 1e-6, "norm and factor");
  Tensor copy = at::zeros({count}, at::TensorOptions().dtype(torch::kBFloat16).device(torch::kCUDA));
  const auto update = [&](const auto& side, const Tensor& copied, const Tensor& places, const Tensor& clipped) {
    return AdamWUpdate{side(parameter), side(gradient), side(first), side(second), copied, count / 2, 0.9, 0.95, 1e-8, 0.1, places, clipped};
  };
  CudaStepKernels().adamw(update([](const Both& both) { return both.gpu; }, copy, schedule.cuda(), gpu_clip));
  ReferenceStepKernels().adamw(update([](const Both& both) { return both.cpu; }, {}, schedule, clip));
  ExpectClose(parameter, 1e-6, "parameter");
  ExpectClose(first, 1e-6, "first moment");
  ExpectClose(second, 1e-6, "second moment");
  EXPECT_TRUE(copy.equal(parameter.gpu.to(torch::kBFloat16)));
}

}  // namespace
}  // namespace entrain::kernels
