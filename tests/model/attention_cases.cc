#include "tests/model/attention_cases.h"

#include <cmath>

#include "gtest/gtest.h"
#include "model/initialisation.h"
#include "model/kernels/backends.h"
#include "model/kernels/cpu_backend.h"
#include "tests/model/cpu_kernel_wide.h"

namespace entrain::kernels {
namespace {

using torch::Tensor;

// Sixteen lanes on a machine of eight: see cpu_kernel_wide.cc.
const AttentionBackend& WideBackend() {
  static const AttentionBackend backend = CpuBackend<CpuKernelWide>(
      "cpu-wide", [](const AttentionInputs& inputs) { return __builtin_cpu_supports("avx2") != 0 && FitsCpuKernel(inputs); });
  return backend;
}

constexpr Precision kFloat32{torch::kFloat32, 4e-6, 4e-6};
// The output is rounded to 8 bits, and D = dO O is taken from it.
constexpr Precision kBfloat16{torch::kBFloat16, 1.0 / 256, 4e-6};

}  // namespace

const std::vector<AttentionCase>& AttentionCases() {
  static const std::vector<AttentionCase> cases = {
      {1, 1, 1, 16},  {2, 3, 2, 16},   {1, 2, 3, 32},  {2, 2, 7, 16},   {1, 4, 17, 64},   {3, 1, 31, 32},
      {8, 4, 64, 16}, {1, 2, 65, 128}, {2, 6, 96, 32}, {1, 1, 129, 64}, {1, 12, 64, 64},  {2, 2, 40, 20},
      {1, 2, 33, 5},  {1, 3, 200, 48}, {1, 1, 257, 16}, {1, 2, 97, 96}, {1, 2, 49, 80},   {1, 1, 100, 256},
      {2, 2, 23, 1},  {1, 1, 1100, 32}, {4, 16, 48, 24},
      {2, 2, 23, 16, false, 0.0, false},         // not causal
      {1, 3, 145, 32, false, 0.0, false},
      {1, 1, 1030, 16, false, 0.0, false},       // not causal, queries cut into ranges
      {2, 3, 77, 32, false, 0.0, true, true},    // rows apart
      {2, 2, 50, 20, false, 0.0, false, true},
      {2, 2, 64, 16, true, 0.25},                // moderate scores
      {2, 2, 64, 16, true, 8.0},                 // collapsed rows
      {1, 2, 300, 16, true, 8.0},                // collapsed rows whose maximum moves from tile to tile
      {2, 2, 64, 64, true, 128.0},               // scores up to 1e4
      {2, 2, 50, 32, true, 4096.0},              // far beyond the range of exp
      {2, 2, 50, 32, false, 1e-6, false},        // uniform rows
      {2, 2, 130, 32, true, 0x1.0p-10},          // nearly so
  };
  return cases;
}

std::string Describe(const AttentionCase& c) {
  return "B" + std::to_string(c.batch) + " H" + std::to_string(c.heads) + " T" + std::to_string(c.tokens) + " D" +
         std::to_string(c.width) + " scale " + std::to_string(c.scale) + (c.causal ? "" : " not causal") + (c.strided ? " strided" : "");
}

Tensor CaseTensor(const AttentionCase& c, const std::string& name, torch::Dtype dtype) {
  Tensor x = model::SeededNormal({c.batch, c.heads, c.tokens, c.width}, 1.0, 7, name, torch::kFloat32);
  return (c.exact ? x.round() : x).to(dtype);
}

double CaseScale(const AttentionCase& c) { return c.scale != 0.0 ? c.scale : 1.0 / std::sqrt(static_cast<double>(c.width)); }

AttentionInputs CaseInputs(const AttentionCase& c, torch::Dtype dtype, torch::Device device) {
  Tensor q = CaseTensor(c, "q", dtype).to(device), k = CaseTensor(c, "k", dtype).to(device), v = CaseTensor(c, "v", dtype).to(device);
  if (c.strided) {
    const Tensor joint_BT3HD = at::stack({q, k, v}, 0).permute({1, 3, 0, 2, 4}).contiguous();
    const auto third = [&](std::int64_t i) { return joint_BT3HD.select(2, i).transpose(1, 2); };
    q = third(0), k = third(1), v = third(2);
  }
  return {q, k, v, CaseScale(c), c.causal, true};
}

Evaluation RunBackend(const AttentionBackend& backend, const AttentionInputs& inputs, const AttentionCase& c, Through through) {
  const auto options = inputs.q_BHTD.options().dtype(StatisticsType(inputs.q_BHTD.scalar_type()));
  const auto rows = [&] { return at::empty({c.batch, c.heads, c.tokens}, options); };
  AttentionOutputs outputs{at::empty_like(inputs.q_BHTD), rows(), rows(), rows(), at::empty({c.batch, c.heads}, options)};
  backend.forward(inputs, outputs);
  const Tensor weight_out = CaseTensor(c, "weight_out", inputs.q_BHTD.scalar_type()).to(inputs.q_BHTD.device());
  AttentionOutputGradients output_gradients;
  if (through != Through::kEntropy) output_gradients.d_out_BHTD = weight_out;
  if (through != Through::kOut) output_gradients.d_entropy_BHT = weight_out.select(3, 0).to(options.dtype()).contiguous();
  AttentionInputGradients gradients{at::empty_like(inputs.q_BHTD), at::empty_like(inputs.k_BHTD), at::empty_like(inputs.v_BHTD)};
  backend.backward(inputs, outputs, output_gradients, gradients);
  return {outputs.out_BHTD.cpu(),    outputs.entropy_BHT.cpu(), outputs.max_abs_score_BH.cpu(),
          gradients.dq_BHTD.cpu(), gradients.dk_BHTD.cpu(),   gradients.dv_BHTD.cpu()};
}

void ExpectNear(const Tensor& got, const Tensor& expected, double share, const std::string& what) {
  ASSERT_EQ(got.sizes(), expected.sizes()) << what;
  const Tensor wide = expected.to(torch::kFloat64);
  const double largest = wide.abs().max().item<double>();
  const double deviation = (got.to(torch::kFloat64) - wide).abs().max().item<double>();
  EXPECT_LE(deviation, share * std::max(1.0, largest)) << what << ", largest " << largest;
}

std::vector<BackendUnderTest> BackendsUnderTest() {
  std::vector<BackendUnderTest> usable;
  const auto add = [&](const AttentionBackend& backend, torch::Device device, std::vector<Precision> precisions) {
    const Tensor probe = at::zeros({1, 1, 4, 16}, device);
    if (backend.supports({probe, probe, probe})) usable.push_back({&backend, device, std::move(precisions)});
  };
  add(LoopsBackend(), torch::kCPU, {kFloat32, kBfloat16});
  add(ReferenceBackend(), torch::kCPU, {kFloat32, kBfloat16, {torch::kFloat64, 1e-13, 1e-13}});
  add(Avx2Backend(), torch::kCPU, {kFloat32, kBfloat16});
  add(Avx512Backend(), torch::kCPU, {kFloat32, kBfloat16});
  add(WideBackend(), torch::kCPU, {kFloat32, kBfloat16});
#ifdef ENTRAIN_CUDA
  // P and dS are rounded to the storage's type before the tensor cores take them.
  if (torch::cuda::is_available()) {
    add(CudaBackend(), torch::kCUDA, {kFloat32, {torch::kBFloat16, 1.2e-2, 1e-5}, {torch::kFloat16, 1.5e-3, 1e-5}});
  }
#endif
  return usable;
}

void ExpectSame(const Evaluation& got, const Evaluation& expected, const Precision& precision, const std::string& what) {
  ExpectNear(got.out, expected.out, precision.out, what + " out");
  ExpectNear(got.entropy, expected.entropy, precision.statistics, what + " entropy");
  ExpectNear(got.max_abs, expected.max_abs, precision.statistics, what + " max_abs");
  ExpectNear(got.dq, expected.dq, 4 * precision.out, what + " dq");
  ExpectNear(got.dk, expected.dk, 4 * precision.out, what + " dk");
  ExpectNear(got.dv, expected.dv, 4 * precision.out, what + " dv");
}

}  // namespace entrain::kernels
