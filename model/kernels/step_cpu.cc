// The step's kernels for float32 on the CPU: tensors to pointers, work to threads. A call with any other type goes to the reference.
#include <ATen/Parallel.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "model/kernels/step_cpu_kernel.h"
#include "model/kernels/step_kernels.h"

namespace entrain::kernels {
namespace {

using torch::Tensor;

constexpr std::int64_t kNormBlockFloats = 1024;
constexpr double kClipEpsilonOnCpu = 1e-6;
// A thread costs more than it brings below this many numbers.
constexpr std::int64_t kFewestNumbers = 16384;

const CpuStepKernel* Chosen() {
  const auto choose = []() -> const CpuStepKernel* {
    const char* wanted = std::getenv("ENTRAIN_CPU_ISA");
    const auto allowed = [&](std::string_view isa) { return wanted == nullptr || *wanted == '\0' || isa == wanted; };
    if (allowed("avx512") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw")) {
      return &CpuStepKernelAvx512();
    }
    return allowed("avx2") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &CpuStepKernelAvx2() : nullptr;
  };
  static const CpuStepKernel* chosen = choose();
  return chosen;
}

bool IsFloatMatrix(const Tensor& x) {
  return !x.defined() || (x.scalar_type() == torch::kFloat32 && x.device().is_cpu() && x.is_contiguous());
}

bool AllFloat(std::initializer_list<Tensor> tensors) {
  return std::all_of(tensors.begin(), tensors.end(), IsFloatMatrix);
}

float* Data(const Tensor& x) { return x.defined() ? x.mutable_data_ptr<float>() : nullptr; }

// Calls on_part(part, begin, end) for equal parts of [0, count), one a thread; the cut depends on the number of threads alone.
template <typename OnPart>
std::int64_t ForParts(std::int64_t count, std::int64_t numbers_each, const OnPart& on_part) {
  const std::int64_t worthwhile = std::max<std::int64_t>(1, count * numbers_each / kFewestNumbers);
  const std::int64_t parts = std::min({count, worthwhile, static_cast<std::int64_t>(at::get_num_threads())});
  at::parallel_for(0, parts, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t part = first; part < last; ++part) on_part(part, part * count / parts, (part + 1) * count / parts);
  });
  return parts;
}

// Sums over rows, one set a part, added up in the order of the parts.
class PartialSums {
 public:
  explicit PartialSums(std::int64_t width)
      : width_(width), stride_((width + 31) / 32 * 32),
        sums_(static_cast<std::size_t>(stride_ * at::get_num_threads()), 0.0f) {}
  float* Of(std::int64_t part) { return sums_.data() + part * stride_; }
  void Write(std::int64_t parts, std::int64_t begin, const Tensor& out, bool accumulate) const {
    if (!out.defined()) return;
    float* target = Data(out);
    for (std::int64_t c = 0; c < out.numel(); ++c) {
      ENTRAIN_CHECK(begin + c < width_);
      float sum = 0.0f;
      for (std::int64_t part = 0; part < parts; ++part) sum += sums_[static_cast<std::size_t>(part * stride_ + begin + c)];
      target[c] = accumulate ? target[c] + sum : sum;
    }
  }

 private:
  std::int64_t width_, stride_;
  std::vector<float> sums_;
};

void CrossEntropyCpu(const CrossEntropy& call) {
  RECORD_FUNCTION("entrain::cross_entropy", {});
  const Tensor& logits = call.logits_NV;
  const bool adjacent = logits.scalar_type() == torch::kFloat32 && logits.device().is_cpu() && logits.stride(1) == 1;
  if (!adjacent || !AllFloat({call.loss_N}) || !call.labels_N.is_contiguous()) return ReferenceStepKernels().cross_entropy(call);
  const CpuCrossEntropy rows{Data(logits),
                             logits.stride(0),
                             logits.size(1),
                             call.vocabulary,
                             call.labels_N.const_data_ptr<std::int64_t>(),
                             Data(call.loss_N),
                             call.gradient,
                             call.gradient ? call.row_weight.item<float>() : 0.0f};
  ForParts(logits.size(0), logits.size(1),
           [&](std::int64_t, std::int64_t begin, std::int64_t end) { Chosen()->cross_entropy(rows, begin, end); });
}

void ResidualNormCpu(const ResidualNorm& call) {
  RECORD_FUNCTION("entrain::residual_norm", {});
  if (!AllFloat({call.residual_NC, call.delta_NC, call.bias_C, call.gain_C, call.shift_C, call.sum_NC, call.normed_NC})) {
    return ReferenceStepKernels().residual_norm(call);
  }
  const std::int64_t width = call.residual_NC.size(1);
  const CpuResidualNorm rows{width,
                             Data(call.residual_NC),
                             Data(call.delta_NC),
                             Data(call.bias_C),
                             Data(call.gain_C),
                             Data(call.shift_C),
                             static_cast<float>(call.eps),
                             Data(call.sum_NC),
                             Data(call.normed_NC),
                             Data(call.mean_N),
                             Data(call.inverse_deviation_N)};
  ForParts(call.residual_NC.size(0), width,
           [&](std::int64_t, std::int64_t begin, std::int64_t end) { Chosen()->residual_norm(rows, begin, end); });
}

void ResidualNormGradientCpu(const ResidualNormGradient& call) {
  RECORD_FUNCTION("entrain::residual_norm_gradient", {});
  if (!AllFloat({call.d_normed_NC, call.sum_NC, call.gain_C, call.d_sum_NC, call.d_delta_NC})) {
    return ReferenceStepKernels().residual_norm_gradient(call);
  }
  const std::int64_t width = call.d_sum_NC.size(1);
  const CpuResidualNormGradient rows{width,
                                     Data(call.d_normed_NC),
                                     Data(call.sum_NC),
                                     Data(call.mean_N),
                                     Data(call.inverse_deviation_N),
                                     Data(call.gain_C),
                                     Data(call.d_sum_NC)};
  PartialSums sums(3 * width);
  const std::int64_t parts = ForParts(call.d_sum_NC.size(0), width, [&](std::int64_t part, std::int64_t begin, std::int64_t end) {
    Chosen()->residual_norm_gradient(rows, begin, end, sums.Of(part));
  });
  if (call.gain_C.defined()) {
    sums.Write(parts, 0, call.d_gain_C, call.accumulate);
    sums.Write(parts, width, call.d_shift_C, call.accumulate);
  }
  sums.Write(parts, 2 * width, call.d_bias_C, call.accumulate);
  if (call.d_delta_NC.defined()) Tensor(call.d_delta_NC).copy_(call.d_sum_NC);
}

float SlopeOf(const Tensor& slope) { return slope.defined() ? slope.item<float>() : 0.0f; }

void BiasActivationCpu(const BiasActivation& call) {
  RECORD_FUNCTION("entrain::bias_activation", {});
  if (!AllFloat({call.x_NF, call.bias_F, call.y_NF, call.derivative_NF})) return ReferenceStepKernels().bias_activation(call);
  const std::int64_t width = call.x_NF.size(1);
  const CpuBiasActivation rows{static_cast<int>(call.kind), width,           Data(call.x_NF),           Data(call.bias_F),
                               SlopeOf(call.slope),         Data(call.y_NF), Data(call.derivative_NF)};
  ForParts(call.x_NF.size(0), width,
           [&](std::int64_t, std::int64_t begin, std::int64_t end) { Chosen()->bias_activation(rows, begin, end); });
}

void BiasActivationGradientCpu(const BiasActivationGradient& call) {
  RECORD_FUNCTION("entrain::bias_activation_gradient", {});
  if (!AllFloat({call.x_NF, call.bias_F, call.d_y_NF, call.d_x_NF, call.derivative_NF})) {
    return ReferenceStepKernels().bias_activation_gradient(call);
  }
  const std::int64_t count = call.d_y_NF.size(0), width = call.d_y_NF.size(1);
  const CpuBiasActivationGradient rows{static_cast<int>(call.kind), width,
                                       Data(call.x_NF),             Data(call.bias_F),
                                       SlopeOf(call.slope),         Data(call.d_y_NF),
                                       Data(call.d_x_NF),           Data(call.derivative_NF)};
  PartialSums sums(width + 1);
  const std::int64_t parts = ForParts(count, width, [&](std::int64_t part, std::int64_t begin, std::int64_t end) {
    Chosen()->bias_activation_gradient(rows, begin, end, sums.Of(part));
  });
  sums.Write(parts, 0, call.d_bias_F, call.accumulate);
  if (!call.derivative_NF.defined()) sums.Write(parts, width, call.d_slope, call.accumulate);
}

void ColumnSumCpu(const ColumnSum& call) {
  RECORD_FUNCTION("entrain::column_sum", {});
  if (!AllFloat({call.out_F}) || call.x_NF.scalar_type() != torch::kFloat32 || call.x_NF.stride(1) != 1) {
    return ReferenceStepKernels().column_sum(call);
  }
  const std::int64_t width = call.x_NF.size(1);
  PartialSums sums(width);
  const std::int64_t parts = ForParts(call.x_NF.size(0), width, [&](std::int64_t part, std::int64_t begin, std::int64_t end) {
    Chosen()->column_sum(Data(call.x_NF), call.x_NF.stride(0), width, begin, end, sums.Of(part));
  });
  sums.Write(parts, 0, call.out_F, call.accumulate);
}

void EmbeddingCpu(const Embedding& call) {
  RECORD_FUNCTION("entrain::embedding", {});
  const std::int64_t width = call.table_VC.size(1), context = call.context;
  const std::int64_t* tokens = call.tokens_N.const_data_ptr<std::int64_t>();
  const float* table = Data(call.table_VC);
  const float* positions = Data(call.positions_PC);
  float* x = Data(call.x_NC);
  ForParts(call.tokens_N.numel(), width, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) {
      const float* token_row = table + tokens[n] * width;
      const float* position_row = positions + n % context * width;
      for (std::int64_t c = 0; c < width; ++c) x[n * width + c] = token_row[c] + position_row[c];
    }
  });
}

// Threads share out columns, so that every sum runs over the tokens in order.
void EmbeddingGradientCpu(const EmbeddingGradient& call) {
  RECORD_FUNCTION("entrain::embedding_gradient", {});
  constexpr std::int64_t kColumns = 16;
  const std::int64_t width = call.d_x_NC.size(1), context = call.context, rows = call.tokens_N.numel();
  const std::int64_t* tokens = call.tokens_N.const_data_ptr<std::int64_t>();
  const float* d_x = Data(call.d_x_NC);
  float* d_table = Data(call.d_table_VC);
  float* d_positions = Data(call.d_positions_PC);
  const std::int64_t position_rows = call.accumulate ? 0 : call.d_positions_PC.size(0);
  ForParts((width + kColumns - 1) / kColumns, kColumns * rows, [&](std::int64_t, std::int64_t first, std::int64_t last) {
    const std::int64_t begin = first * kColumns, end = std::min(width, last * kColumns);
    for (std::int64_t p = 0; p < position_rows; ++p) std::fill(d_positions + p * width + begin, d_positions + p * width + end, 0.0f);
    for (std::int64_t n = 0; n < rows; ++n) {
      const float* row = d_x + n * width;
      float* token_row = d_table + tokens[n] * width;
      float* position_row = d_positions + n % context * width;
      for (std::int64_t c = begin; c < end; ++c) {
        token_row[c] += row[c];
        position_row[c] += row[c];
      }
    }
  });
}

void GradientNormCpu(const GradientNorm& call) {
  RECORD_FUNCTION("entrain::gradient_norm", {});
  const std::int64_t blocks = call.gradient.numel() / kNormBlockFloats;
  std::vector<double> squares(static_cast<std::size_t>(at::get_num_threads()), 0.0);
  ForParts(blocks, kNormBlockFloats, [&](std::int64_t part, std::int64_t begin, std::int64_t end) {
    squares[static_cast<std::size_t>(part)] = Chosen()->sum_of_squares(Data(call.gradient), begin, end);
  });
  double total = 0.0;
  for (const double part : squares) total += part;
  const double scale = call.schedule.const_data_ptr<double>()[schedule::kGradientScale];
  const double norm = std::sqrt(total) * scale;
  double* out = call.clip.mutable_data_ptr<double>();
  out[clip::kNorm] = norm;
  out[clip::kFactor] = call.max_norm > 0.0 ? scale * std::min(1.0, call.max_norm / (norm + kClipEpsilonOnCpu)) : scale;
  out[clip::kFinite] = std::isfinite(norm) ? 1.0 : 0.0;
}

void AdamWCpu(const AdamWUpdate& call) {
  RECORD_FUNCTION("entrain::adamw", {});
  if (call.parameter_copy.defined() && call.parameter_copy.scalar_type() != torch::kBFloat16) {
    return ReferenceStepKernels().adamw(call);
  }
  const double* now = call.schedule.const_data_ptr<double>();
  const double* clipped = call.clip.const_data_ptr<double>();
  if (clipped[clip::kFinite] < 0.5) return;
  CpuAdamW elements{Data(call.parameter),
                    Data(call.gradient),
                    Data(call.first_moment),
                    Data(call.second_moment),
                    call.parameter_copy.defined() ? static_cast<std::uint16_t*>(call.parameter_copy.mutable_data_ptr()) : nullptr,
                    static_cast<float>(clipped[clip::kFactor]),
                    static_cast<float>(now[schedule::kLearningRate]),
                    static_cast<float>(call.weight_decay),
                    static_cast<float>(call.beta1),
                    static_cast<float>(call.beta2),
                    static_cast<float>(call.eps),
                    static_cast<float>(now[schedule::kBiasCorrection1]),
                    static_cast<float>(std::sqrt(now[schedule::kBiasCorrection2]))};
  CpuAdamW undecayed = elements;
  undecayed.decay = 0.0f;
  // Whole cache lines a part; the last block may be short.
  constexpr std::int64_t kElements = 1024;
  const std::int64_t count = call.parameter.numel();
  ForParts((count + kElements - 1) / kElements, kElements, [&](std::int64_t, std::int64_t first, std::int64_t last) {
    const std::int64_t begin = first * kElements, end = std::min(count, last * kElements);
    const std::int64_t decayed_end = std::clamp(call.decay_end, begin, end);
    Chosen()->adamw(elements, begin, decayed_end);
    Chosen()->adamw(undecayed, decayed_end, end);
  });
}

bool SupportsFloatOnCpu(const Tensor& parameter) {
  return Chosen() != nullptr && parameter.device().is_cpu() && parameter.scalar_type() == torch::kFloat32;
}

}  // namespace

const StepKernels& CpuStepKernels() {
  static const StepKernels kernels{"cpu",
                                   SupportsFloatOnCpu,
                                   true,
                                   CrossEntropyCpu,
                                   ResidualNormCpu,
                                   ResidualNormGradientCpu,
                                   BiasActivationCpu,
                                   BiasActivationGradientCpu,
                                   ColumnSumCpu,
                                   EmbeddingCpu,
                                   EmbeddingGradientCpu,
                                   GradientNormCpu,
                                   AdamWCpu};
  return kernels;
}

}  // namespace entrain::kernels
