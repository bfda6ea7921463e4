#include "model/kernels/cpu_backend.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <vector>

#include "model/kernels/backends.h"

namespace entrain::kernels {
namespace {

using torch::Tensor;

constexpr std::int64_t kWidestHead = 256;

bool HasAdjacentNumbers(const Tensor& x, torch::Dtype dtype) {
  return x.device().is_cpu() && x.scalar_type() == dtype && (x.size(3) == 1 || x.stride(3) == 1);
}

bool MachineHasAvx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

bool MachineHasAvx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bw");
}

bool SupportsAvx2(const AttentionInputs& inputs) { return MachineHasAvx2() && FitsCpuKernel(inputs); }
bool SupportsAvx512(const AttentionInputs& inputs) { return MachineHasAvx512() && FitsCpuKernel(inputs); }

CpuStorage StorageOf(const Tensor& x) {
  return x.scalar_type() == torch::kBFloat16 ? CpuStorage::kBfloat16 : CpuStorage::kFloat32;
}

// Head n of all B*H.
const void* HeadStart(const Tensor& x_BHTD, std::int64_t n) {
  const std::int64_t heads = x_BHTD.size(1);
  const std::int64_t offset = n / heads * x_BHTD.stride(0) + n % heads * x_BHTD.stride(1);
  return static_cast<const char*>(x_BHTD.const_data_ptr()) + offset * static_cast<std::int64_t>(x_BHTD.element_size());
}
ConstRows Head(const Tensor& x_BHTD, std::int64_t n) { return {HeadStart(x_BHTD, n), x_BHTD.stride(2)}; }
Rows MutableHead(const Tensor& x_BHTD, std::int64_t n) { return {const_cast<void*>(HeadStart(x_BHTD, n)), x_BHTD.stride(2)}; }

HeadInputs InputsOf(const AttentionInputs& inputs, std::int64_t n) {
  return {Head(inputs.q_BHTD, n),
          Head(inputs.k_BHTD, n),
          Head(inputs.v_BHTD, n),
          inputs.q_BHTD.size(2),
          inputs.q_BHTD.size(3),
          static_cast<float>(inputs.scale),
          inputs.causal,
          StorageOf(inputs.q_BHTD)};
}

// How the queries of every head are cut: a function of the sizes alone.
struct Cut {
  Cut(const AttentionInputs& inputs, std::int64_t wanted_tasks, std::int64_t most_ranges)
      : heads(inputs.q_BHTD.size(0) * inputs.q_BHTD.size(1)) {
    constexpr std::int64_t kFewestQueries = 512, kUnit = 48;
    const std::int64_t tokens = inputs.q_BHTD.size(2);
    const std::int64_t ranges = std::clamp((wanted_tasks + heads - 1) / heads, std::int64_t{1},
                                           std::min(most_ranges, std::max(tokens / kFewestQueries, std::int64_t{1})));
    starts.push_back(0);
    for (std::int64_t n = 1; n < ranges; ++n) {
      // The same number of scores in every range.
      const double share = static_cast<double>(n) / static_cast<double>(ranges);
      const double place = (inputs.causal ? std::sqrt(share) : share) * static_cast<double>(tokens);
      starts.push_back(static_cast<std::int64_t>(place) / kUnit * kUnit);
    }
    starts.push_back(tokens);
  }
  std::int64_t Ranges() const { return static_cast<std::int64_t>(starts.size()) - 1; }
  QueryRange Range(std::int64_t n) const {
    return {starts[static_cast<std::size_t>(n)], starts[static_cast<std::size_t>(n + 1)]};
  }
  std::int64_t heads;
  std::vector<std::int64_t> starts;
};

struct FreeDeleter {
  void operator()(float* p) const { std::free(p); }
};
using Floats = std::unique_ptr<float[], FreeDeleter>;

Floats Allocate(std::int64_t floats) {
  const auto bytes = (static_cast<std::size_t>(floats) * sizeof(float) + 63) / 64 * 64;
  auto* taken = static_cast<float*>(std::aligned_alloc(64, bytes));
  TORCH_CHECK(taken != nullptr, "attention: no memory for ", bytes, " bytes of scratch");
  return Floats(taken);
}

// This thread's scratch: kept from call to call, grown when needed.
float* Scratch(std::int64_t floats) {
  thread_local Floats scratch;
  thread_local std::int64_t size = 0;
  if (size < floats) {
    scratch.reset();
    scratch = Allocate(floats);
    size = floats;
  }
  return scratch.get();
}

// Calls on_task(n) for every n below `tasks`; a thread that is done takes the next one.
template <typename OnTask>
void ForEachTask(std::int64_t tasks, const OnTask& on_task) {
  std::atomic<std::int64_t> next{0};
  at::parallel_for(0, std::min<std::int64_t>(tasks, at::get_num_threads()), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t worker = begin; worker < end; ++worker) {
      for (std::int64_t n = next++; n < tasks; n = next++) on_task(n);
    }
  });
}

// Of every head the largest over its ranges; a NaN among them stays.
void ReduceMaxAbs(const std::vector<float>& by_task, std::int64_t ranges, Tensor& max_abs_score_BH) {
  float* out = max_abs_score_BH.mutable_data_ptr<float>();
  for (std::size_t task = 0; task < by_task.size(); ++task) {
    float& head = out[task / static_cast<std::size_t>(ranges)];
    const float value = by_task[task];
    if (task % static_cast<std::size_t>(ranges) == 0 || value > head || std::isnan(value)) head = value;
  }
}

// dK and dV of all heads, in parts where queries are cut.
void BackwardParts(const CpuKernel& kernel, const AttentionInputs& inputs, const Cut& cut, AttentionInputGradients& gradients,
                   const std::vector<HeadGradients>& heads) {
  const std::int64_t tokens = inputs.q_BHTD.size(2), part_floats = tokens * kernel.padded_width(inputs.q_BHTD.size(3));
  const std::int64_t scratch_floats = kernel.scratch_floats(tokens, inputs.q_BHTD.size(3));
  std::vector<std::int64_t> part_keys;
  for (std::int64_t n = 0; n < cut.Ranges(); ++n) part_keys.push_back(inputs.causal ? cut.Range(n).end : tokens);
  const auto add = [&](std::int64_t head, const float* dk_part, const float* dv_part) {
    const HeadInputs of_head = InputsOf(inputs, head);
    kernel.add_parts(dk_part, part_floats, part_keys.data(), cut.Ranges(), of_head, MutableHead(gradients.dk_BHTD, head));
    kernel.add_parts(dv_part, part_floats, part_keys.data(), cut.Ranges(), of_head, MutableHead(gradients.dv_BHTD, head));
  };
  const auto run = [&](std::int64_t head, std::int64_t range, float* dk_part, float* dv_part, float* scratch) {
    HeadGradients of_head = heads[static_cast<std::size_t>(head)];
    of_head.dk_part = dk_part;
    of_head.dv_part = dv_part;
    kernel.backward(InputsOf(inputs, head), cut.Range(range), of_head, scratch);
  };
  if (cut.Ranges() == 1) {
    return ForEachTask(cut.heads, [&](std::int64_t head) {
      float* scratch = Scratch(2 * part_floats + scratch_floats);
      run(head, 0, scratch, scratch + part_floats, scratch + 2 * part_floats);
      add(head, scratch, scratch + part_floats);
    });
  }
  const std::int64_t tasks = cut.heads * cut.Ranges();
  const Floats dk_parts = Allocate(tasks * part_floats), dv_parts = Allocate(tasks * part_floats);
  ForEachTask(tasks, [&](std::int64_t task) {
    run(task / cut.Ranges(), task % cut.Ranges(), dk_parts.get() + task * part_floats, dv_parts.get() + task * part_floats,
        Scratch(scratch_floats));
  });
  ForEachTask(cut.heads, [&](std::int64_t head) {
    const std::int64_t offset = head * cut.Ranges() * part_floats;
    add(head, dk_parts.get() + offset, dv_parts.get() + offset);
  });
}

// What the kernel reads row by row must have adjacent numbers and the inputs' storage.
Tensor Readable(const Tensor& x_BHTD, torch::Dtype dtype) {
  const Tensor converted = x_BHTD.to(dtype);
  return HasAdjacentNumbers(converted, dtype) ? converted : converted.contiguous();
}

}  // namespace

bool FitsCpuKernel(const AttentionInputs& inputs) {
  const auto dtype = inputs.q_BHTD.scalar_type();
  if (dtype != torch::kFloat32 && dtype != torch::kBFloat16) return false;
  return inputs.q_BHTD.size(3) <= kWidestHead && HasAdjacentNumbers(inputs.q_BHTD, dtype) &&
         HasAdjacentNumbers(inputs.k_BHTD, dtype) && HasAdjacentNumbers(inputs.v_BHTD, dtype);
}

void ForwardWith(const CpuKernel& kernel, const AttentionInputs& inputs, AttentionOutputs& outputs) {
  const Cut cut(inputs, 32, 16);
  const std::int64_t tokens = inputs.q_BHTD.size(2), tasks = cut.heads * cut.Ranges();
  const std::int64_t scratch_floats = kernel.scratch_floats(tokens, inputs.q_BHTD.size(3));
  const auto rows = [tokens](const Tensor& x_BHT, std::int64_t n) { return x_BHT.mutable_data_ptr<float>() + n * tokens; };
  std::vector<float> max_abs(static_cast<std::size_t>(tasks));
  ForEachTask(tasks, [&](std::int64_t task) {
    const std::int64_t head = task / cut.Ranges();
    kernel.forward(InputsOf(inputs, head), cut.Range(task % cut.Ranges()),
                   {MutableHead(outputs.out_BHTD, head), outputs.entropy_BHT.defined() ? rows(outputs.entropy_BHT, head) : nullptr,
                    rows(outputs.row_max_BHT, head), rows(outputs.log_sum_BHT, head), &max_abs[static_cast<std::size_t>(task)]},
                   Scratch(scratch_floats));
  });
  ReduceMaxAbs(max_abs, cut.Ranges(), outputs.max_abs_score_BH);
}

void BackwardWith(const CpuKernel& kernel, const AttentionInputs& inputs, const AttentionOutputs& outputs,
                  const AttentionOutputGradients& output_gradients, AttentionInputGradients& gradients) {
  const std::int64_t tokens = inputs.q_BHTD.size(2);
  const auto rows = [tokens](const Tensor& x_BHT, std::int64_t n) { return x_BHT.const_data_ptr<float>() + n * tokens; };
  const bool through_out = output_gradients.d_out_BHTD.defined(), through_entropy = output_gradients.d_entropy_BHT.defined();
  const auto dtype = inputs.q_BHTD.scalar_type();
  const Tensor d_out_BHTD = through_out ? Readable(output_gradients.d_out_BHTD, dtype) : Tensor();
  const Tensor d_entropy_BHT = through_entropy ? output_gradients.d_entropy_BHT.to(torch::kFloat32).contiguous() : Tensor();
  const Cut cut(inputs, 16, 8);
  std::vector<HeadGradients> heads;
  for (std::int64_t n = 0; n < cut.heads; ++n) {
    heads.push_back({through_out ? Head(d_out_BHTD, n) : ConstRows{}, through_out ? Head(outputs.out_BHTD, n) : ConstRows{},
                     through_entropy ? rows(d_entropy_BHT, n) : nullptr, through_entropy ? rows(outputs.entropy_BHT, n) : nullptr,
                     rows(outputs.row_max_BHT, n), rows(outputs.log_sum_BHT, n), MutableHead(gradients.dq_BHTD, n), nullptr, nullptr});
  }
  BackwardParts(kernel, inputs, cut, gradients, heads);
}

std::string_view ForcedCpuPath() {
  const char* variable = std::getenv("ENTRAIN_CPU_ISA");
  const std::string_view wanted = variable == nullptr ? "" : variable;
  TORCH_CHECK(wanted.empty() || wanted == "avx512" || wanted == "avx2" || wanted == "reference", "ENTRAIN_CPU_ISA is '", wanted,
              "'; known are avx512, avx2 and reference");
  TORCH_CHECK(wanted != "avx512" || MachineHasAvx512(), "ENTRAIN_CPU_ISA=avx512, but this machine lacks AVX-512 (F, VL, DQ, BW)");
  TORCH_CHECK(wanted != "avx2" || MachineHasAvx2(), "ENTRAIN_CPU_ISA=avx2, but this machine lacks AVX2 or FMA");
  return wanted;
}

const AttentionBackend& Avx2Backend() {
  static const AttentionBackend backend = CpuBackend<CpuKernelAvx2>("cpu-avx2", SupportsAvx2);
  return backend;
}

const AttentionBackend& Avx512Backend() {
  static const AttentionBackend backend = CpuBackend<CpuKernelAvx512>("cpu-avx512", SupportsAvx512);
  return backend;
}

}  // namespace entrain::kernels
