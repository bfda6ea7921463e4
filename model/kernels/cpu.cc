#include <ATen/Parallel.h>

#include <cstdlib>
#include <string_view>
#include <vector>

#include "model/kernels/backends.h"
#include "model/kernels/cpu_kernel.h"

namespace entrain::kernels {
namespace {

using torch::Tensor;

constexpr std::int64_t kWidestHead = 256;

// ENTRAIN_CPU_ISA=avx512, avx2 or reference keeps the choice to that path.
bool IsAllowed(std::string_view isa) {
  static const char* wanted = std::getenv("ENTRAIN_CPU_ISA");
  return wanted == nullptr || *wanted == '\0' || isa == wanted;
}

bool HasAdjacentFloats(const Tensor& x) {
  return x.device().is_cpu() && x.scalar_type() == torch::kFloat32 && (x.size(3) == 1 || x.stride(3) == 1);
}

bool SupportsTensors(const AttentionInputs& inputs) {
  return inputs.q_BHTD.size(3) <= kWidestHead && HasAdjacentFloats(inputs.q_BHTD) && HasAdjacentFloats(inputs.k_BHTD) &&
         HasAdjacentFloats(inputs.v_BHTD);
}

bool SupportsAvx2(const AttentionInputs& inputs) {
  return IsAllowed("avx2") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && SupportsTensors(inputs);
}

bool SupportsAvx512(const AttentionInputs& inputs) {
  return IsAllowed("avx512") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") && SupportsTensors(inputs);
}

// Head n of all B*H.
const float* HeadStart(const Tensor& x_BHTD, std::int64_t n) {
  const std::int64_t heads = x_BHTD.size(1);
  return x_BHTD.const_data_ptr<float>() + n / heads * x_BHTD.stride(0) + n % heads * x_BHTD.stride(1);
}

ConstRows Head(const Tensor& x_BHTD, std::int64_t n) { return {HeadStart(x_BHTD, n), x_BHTD.stride(2)}; }
Rows MutableHead(const Tensor& x_BHTD, std::int64_t n) { return {const_cast<float*>(HeadStart(x_BHTD, n)), x_BHTD.stride(2)}; }

// Calls `on_head(n, scratch)` for every head, heads spread over the threads.
template <typename OnHead>
void ForEachHead(const CpuKernel& kernel, const AttentionInputs& inputs, const OnHead& on_head) {
  const std::int64_t heads = inputs.q_BHTD.size(0) * inputs.q_BHTD.size(1);
  const auto scratch_floats =
      static_cast<std::size_t>(kernel.scratch_floats(inputs.q_BHTD.size(2), inputs.q_BHTD.size(3)));
  at::parallel_for(0, heads, 1, [&](std::int64_t begin, std::int64_t end) {
    thread_local std::vector<float> scratch;
    if (scratch.size() < scratch_floats) scratch.resize(scratch_floats);
    for (std::int64_t n = begin; n < end; ++n) on_head(n, scratch.data());
  });
}

HeadInputs InputsOf(const AttentionInputs& inputs, std::int64_t n) {
  return {Head(inputs.q_BHTD, n),  Head(inputs.k_BHTD, n),  Head(inputs.v_BHTD, n),
          inputs.q_BHTD.size(2),   inputs.q_BHTD.size(3),   static_cast<float>(inputs.scale), inputs.causal};
}

template <const CpuKernel& (*kKernel)()>
void ForwardCpu(const AttentionInputs& inputs, AttentionOutputs& outputs) {
  const std::int64_t tokens = inputs.q_BHTD.size(2);
  const auto rows = [tokens](const Tensor& x_BHT, std::int64_t n) { return x_BHT.mutable_data_ptr<float>() + n * tokens; };
  ForEachHead(kKernel(), inputs, [&](std::int64_t n, float* scratch) {
    kKernel().forward(InputsOf(inputs, n),
                      {MutableHead(outputs.out_BHTD, n), rows(outputs.entropy_BHT, n), rows(outputs.row_max_BHT, n),
                       rows(outputs.log_sum_BHT, n), outputs.max_abs_score_BH.mutable_data_ptr<float>() + n},
                      scratch);
  });
}

template <const CpuKernel& (*kKernel)()>
void BackwardCpu(const AttentionInputs& inputs, const AttentionOutputs& outputs,
                 const AttentionOutputGradients& output_gradients, AttentionInputGradients& gradients) {
  const std::int64_t tokens = inputs.q_BHTD.size(2);
  const auto rows = [tokens](const Tensor& x_BHT, std::int64_t n) { return x_BHT.const_data_ptr<float>() + n * tokens; };
  Tensor d_out_BHTD = output_gradients.d_out_BHTD;
  if (d_out_BHTD.defined() && d_out_BHTD.stride(3) != 1) d_out_BHTD = d_out_BHTD.contiguous();
  Tensor d_entropy_BHT = output_gradients.d_entropy_BHT;
  if (d_entropy_BHT.defined()) d_entropy_BHT = d_entropy_BHT.contiguous();
  ForEachHead(kKernel(), inputs, [&](std::int64_t n, float* scratch) {
    kKernel().backward(InputsOf(inputs, n),
                       {d_out_BHTD.defined() ? Head(d_out_BHTD, n) : ConstRows{},
                        d_entropy_BHT.defined() ? rows(d_entropy_BHT, n) : nullptr, rows(outputs.row_max_BHT, n),
                        rows(outputs.log_sum_BHT, n), MutableHead(gradients.dq_BHTD, n), MutableHead(gradients.dk_BHTD, n),
                        MutableHead(gradients.dv_BHTD, n)},
                       scratch);
  });
}

}  // namespace

const AttentionBackend& Avx2Backend() {
  static const AttentionBackend backend{"cpu-avx2", SupportsAvx2, ForwardCpu<CpuKernelAvx2>, BackwardCpu<CpuKernelAvx2>};
  return backend;
}

const AttentionBackend& Avx512Backend() {
  static const AttentionBackend backend{"cpu-avx512", SupportsAvx512, ForwardCpu<CpuKernelAvx512>,
                                        BackwardCpu<CpuKernelAvx512>};
  return backend;
}

}  // namespace entrain::kernels
