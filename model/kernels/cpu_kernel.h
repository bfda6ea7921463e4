// The attention of one head on one CPU instruction set, without torch: the files behind it are compiled with that set's flags, and a
// header full of inline functions compiled so could be picked by the linker for machines that lack it.
#pragma once

#include <cstdint>

namespace entrain::kernels {

// `tokens` rows of `width` adjacent floats, `stride` floats apart.
struct ConstRows {
  const float* data = nullptr;
  std::int64_t stride = 0;
};
struct Rows {
  float* data = nullptr;
  std::int64_t stride = 0;
};

struct HeadInputs {
  ConstRows q, k, v;
  std::int64_t tokens = 0;
  std::int64_t width = 0;
  float scale = 1.0f;
  bool causal = true;
};

struct HeadOutputs {
  Rows out;
  float* entropy = nullptr;
  float* row_max = nullptr;
  float* log_sum = nullptr;
  float* max_abs_score = nullptr;
};

struct HeadGradients {
  ConstRows d_out;                  // data may be null: no gradient through the output
  const float* d_entropy = nullptr;  // may be null
  const float* row_max = nullptr;
  const float* log_sum = nullptr;
  Rows dq, dk, dv;
};

// Scratch is linear in the number of tokens.
struct CpuKernel {
  std::int64_t (*scratch_floats)(std::int64_t tokens, std::int64_t width);
  void (*forward)(const HeadInputs& inputs, const HeadOutputs& outputs, float* scratch);
  void (*backward)(const HeadInputs& inputs, const HeadGradients& gradients, float* scratch);
};

const CpuKernel& CpuKernelAvx2();
const CpuKernel& CpuKernelAvx512();

}  // namespace entrain::kernels
