// The attention of one head on one CPU instruction set, without torch: the files behind it are compiled with that set's flags, and a
// header full of inline functions compiled so could be picked by the linker for machines that lack it.
//
// A call takes a range of a head's queries and all keys that they look at, so that one head can be shared among threads. Arithmetic is
// float32 whatever the tensors are stored in.
#pragma once

#include <cstdint>

namespace entrain::kernels {

enum class CpuStorage { kFloat32, kBfloat16 };

// `tokens` rows of `width` adjacent numbers, `stride` numbers apart.
struct ConstRows {
  const void* data = nullptr;
  std::int64_t stride = 0;
};
struct Rows {
  void* data = nullptr;
  std::int64_t stride = 0;
};

struct QueryRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

struct HeadInputs {
  ConstRows q, k, v;
  std::int64_t tokens = 0;
  std::int64_t width = 0;
  float scale = 1.0f;
  bool causal = true;
  CpuStorage storage = CpuStorage::kFloat32;
};

// Rows of the range are written.
struct HeadOutputs {
  Rows out;
  float* entropy = nullptr;  // null: compiled without entropy
  float* row_max = nullptr;
  float* log_sum = nullptr;
  float* max_abs_score = nullptr;  // of this range
};

struct HeadGradients {
  ConstRows d_out;                   // data may be null: no gradient through the output
  ConstRows out;                     // what forward wrote
  const float* d_entropy = nullptr;  // null: no gradient through the entropy; compiled without it
  const float* entropy = nullptr;    // read only with d_entropy
  const float* row_max = nullptr;
  const float* log_sum = nullptr;
  Rows dq;  // rows of the range are written
  // What the range's queries add to dK and dV, [keys, PaddedWidth] each, overwritten: keys are those before the range's end when causal.
  float* dk_part = nullptr;
  float* dv_part = nullptr;
};

// Scratch is linear in the number of tokens and aligned to 64 bytes.
struct CpuKernel {
  std::int64_t (*padded_width)(std::int64_t width);
  std::int64_t (*scratch_floats)(std::int64_t tokens, std::int64_t width);
  void (*forward)(const HeadInputs& inputs, QueryRange queries, const HeadOutputs& outputs, float* scratch);
  void (*backward)(const HeadInputs& inputs, QueryRange queries, const HeadGradients& gradients, float* scratch);
  // rows[0..keys) = the sum of `parts` buffers, `part_floats` apart, of which part n has the first part_keys[n] rows; in order of n.
  void (*add_parts)(const float* part, std::int64_t part_floats, const std::int64_t* part_keys, std::int64_t parts,
                    const HeadInputs& inputs, Rows rows);
};

const CpuKernel& CpuKernelAvx2();
const CpuKernel& CpuKernelAvx512();

}  // namespace entrain::kernels
