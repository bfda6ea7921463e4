// The step's kernels on one CPU instruction set, for float32 and without torch (cpu_kernel.h says why). Each call does a part of the work:
// rows, columns or elements [begin, end), whose parts threads share out. Matrices are `width` adjacent floats a row, `stride` apart.
#pragma once

#include <cstdint>

namespace entrain::kernels {

struct CpuCrossEntropy {
  float* logits;
  std::int64_t stride, columns, vocabulary;  // columns from `vocabulary` to `columns` are padding
  const std::int64_t* labels;
  float* loss;
  bool gradient;
  float row_weight;
};

struct CpuResidualNorm {
  std::int64_t width;
  const float* residual;
  const float* delta;  // may be null, as may bias and gain
  const float* bias;
  const float* gain;
  const float* shift;
  float eps;
  float* sum;
  float* normed;
  float* mean;
  float* inverse_deviation;
};

struct CpuResidualNormGradient {
  std::int64_t width;
  const float* d_normed;
  const float* sum;
  const float* mean;
  const float* inverse_deviation;
  const float* gain;  // may be null: no norm
  float* d_sum;
};

struct CpuBiasActivation {
  int kind;  // ActivationKind
  std::int64_t width;
  const float* x;
  const float* bias;  // may be null
  float slope;
  float* y;
  float* derivative;  // may be null
};

struct CpuBiasActivationGradient {
  int kind;
  std::int64_t width;
  const float* x;
  const float* bias;
  float slope;
  const float* d_y;
  float* d_x;
  const float* derivative;  // may be null; otherwise x and bias are
};

struct CpuAdamW {
  float* parameter;
  const float* gradient;
  float* first_moment;
  float* second_moment;
  std::uint16_t* parameter_copy;  // bfloat16; may be null
  float factor, lr, decay, beta1, beta2, eps, correction1, correction2_root;
};

struct CpuStepKernel {
  void (*cross_entropy)(const CpuCrossEntropy& call, std::int64_t begin, std::int64_t end);
  void (*residual_norm)(const CpuResidualNorm& call, std::int64_t begin, std::int64_t end);
  // sums: 3 * width floats, added to: of the gain, of the shift, of the columns of d_sum.
  void (*residual_norm_gradient)(const CpuResidualNormGradient& call, std::int64_t begin, std::int64_t end, float* sums);
  void (*bias_activation)(const CpuBiasActivation& call, std::int64_t begin, std::int64_t end);
  // sums: width + 1 floats, added to: of the columns of d_x, then of the slope.
  void (*bias_activation_gradient)(const CpuBiasActivationGradient& call, std::int64_t begin, std::int64_t end, float* sums);
  void (*column_sum)(const float* x, std::int64_t stride, std::int64_t width, std::int64_t begin, std::int64_t end, float* sums);
  // Of 1024-element blocks [begin, end).
  double (*sum_of_squares)(const float* x, std::int64_t begin, std::int64_t end);
  void (*adamw)(const CpuAdamW& call, std::int64_t begin, std::int64_t end);
};

const CpuStepKernel& CpuStepKernelAvx2();
const CpuStepKernel& CpuStepKernelAvx512();

}  // namespace entrain::kernels
