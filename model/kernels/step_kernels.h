// The parts of a training step that are neither a matrix product nor attention, each in one pass over its data.
//
// A back end is a table of functions. Every function writes into tensors that the caller allocated, allocates nothing that the caller could
// have, and never reads a number back to the host, so that a whole step can be captured and replayed. Results do not depend on the number
// of threads where they are maps; sums over rows are cut by thread, hence bit-identical for one number of threads (and always on CUDA).
//
// Matrices are row-major with adjacent columns; rows may be further apart (a view into padded rows). "Statistics" are float32, or float64
// beside float64 data. Where a struct says "any type", the tensor may also be of the type in which matrices are multiplied (bfloat16,
// float16) while its neighbours are float32. Gradients of parameters (d_gain, d_bias, ...) are overwritten, or added to if `accumulate`.
//
// Shape suffixes: N rows (tokens of a batch), C width, F columns of any matrix, V vocabulary, T tokens of a sequence, B batch.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string_view>
#include <vector>

namespace entrain::kernels {

// Negative log-likelihood of every row and, in place of the logits, the gradient of their weighted sum.
struct CrossEntropy {
  torch::Tensor logits_NV;  // any type; columns from `vocabulary` on are padding: they take no part and their gradient is 0
  torch::Tensor labels_N;   // int64; negative: not counted, loss 0, gradient 0
  std::int64_t vocabulary = 0;
  torch::Tensor loss_N;  // out, statistics
  // Whether the logits become (softmax - onehot) * row_weight.
  bool gradient = false;
  torch::Tensor row_weight;  // [] statistics, on the device: 1 / counted rows, times the loss scale
};

// sum = residual + delta + bias; normed = (sum - mean) * inverse_deviation * gain + shift.
struct ResidualNorm {
  torch::Tensor residual_NC;
  torch::Tensor delta_NC;  // any type; undefined: sum is the residual, and sum_NC is not written
  torch::Tensor bias_C;    // of delta; may be undefined
  torch::Tensor gain_C, shift_C;  // undefined: no norm, and only sum_NC is written
  double eps = 1e-5;
  torch::Tensor sum_NC;     // out; may be residual_NC itself
  torch::Tensor normed_NC;  // out, any type
  torch::Tensor mean_N, inverse_deviation_N;  // out, statistics
};

struct ResidualNormGradient {
  torch::Tensor d_normed_NC;  // any type; undefined with gain_C: no norm
  torch::Tensor sum_NC, mean_N, inverse_deviation_N, gain_C;
  // In: the gradient that reaches the sum past the norm. Out: the whole one, which is also the residual's and the delta's.
  torch::Tensor d_sum_NC;
  torch::Tensor d_delta_NC;  // out, any type: a copy of d_sum in the type of matrix products; may be undefined
  torch::Tensor d_gain_C, d_shift_C;
  torch::Tensor d_bias_C;  // column sums of the whole d_sum; may be undefined
  bool accumulate = false;
};

enum class ActivationKind { kIdentity, kRelu, kLeakyRelu, kGeluErf, kGeluTanh };

// y = f(x + bias). x stays as it is, and the backward pass adds the bias again; or the derivative takes its place, and the backward pass
// multiplies by it.
struct BiasActivation {
  ActivationKind kind = ActivationKind::kGeluErf;
  torch::Tensor x_NF;    // any type
  torch::Tensor bias_F;  // may be undefined
  torch::Tensor slope;   // [1] of a leaky ReLU
  torch::Tensor y_NF;    // out, the type of x; may be x_NF itself
  torch::Tensor derivative_NF = {};  // out, f'(x + bias) in the type of x; may be x_NF itself; undefined: not kept
};

struct BiasActivationGradient {
  ActivationKind kind = ActivationKind::kGeluErf;
  torch::Tensor x_NF;  // before the bias
  torch::Tensor bias_F;
  torch::Tensor slope;
  torch::Tensor d_y_NF;  // any type
  torch::Tensor d_x_NF;  // out, the type of d_y; may be d_y_NF itself
  torch::Tensor d_bias_F;  // may be undefined
  torch::Tensor d_slope;   // [1]; may be undefined
  bool accumulate = false;
  torch::Tensor derivative_NF = {};  // as the forward pass kept it; then x, the bias and the slope are not looked at, nor d_slope written
};

struct ColumnSum {
  torch::Tensor x_NF;  // any type
  torch::Tensor out_F;
  bool accumulate = false;
};

// x = token table [tokens] + position table [position in its sequence].
struct Embedding {
  torch::Tensor tokens_N;  // int64, B sequences of `context` tokens
  std::int64_t context = 0;
  torch::Tensor table_VC, positions_PC;
  torch::Tensor x_NC;  // out
};

struct EmbeddingGradient {
  torch::Tensor tokens_N;
  std::int64_t context = 0;
  torch::Tensor d_x_NC;
  torch::Tensor d_table_VC;      // always added to: the output matrix is the same table
  torch::Tensor d_positions_PC;  // rows beyond `context` are zeroed, or left alone if `accumulate`
  bool accumulate = false;
};

// Places in the state of an optimiser step, two float64 tensors on the device of the parameters. The host writes the first before the step
// (one small copy, outside a captured graph) and may read the second whenever it likes; between them nothing goes to the host.
namespace schedule {
enum Place : std::int64_t { kLearningRate, kBiasCorrection1, kBiasCorrection2, kGradientScale, kCount };  // 1 - beta^t; averaging over ranks
}
namespace clip {
enum Place : std::int64_t { kNorm, kFactor, kFinite, kCount };
}

// The norm of the flat gradient after scaling and before clipping; the factor by which the update multiplies it:
// scale * min(1, max_norm / (norm + 1e-6)), max_norm 0 not clipping; and 1 if the norm is finite, else 0.
// Squares are added in single precision over 1024 elements at most, beyond that in double.
struct GradientNorm {
  torch::Tensor gradient;  // flat, a multiple of 1024 elements
  double max_norm = 0.0;
  torch::Tensor schedule;  // [schedule::kCount]
  torch::Tensor clip;      // out, [clip::kCount]
};

// AdamW over flat buffers in one pass. Nothing is written when the norm is not finite. The gradient buffer is only read.
struct AdamWUpdate {
  torch::Tensor parameter, gradient, first_moment, second_moment;  // flat
  torch::Tensor parameter_copy;  // bfloat16 or float16 like `parameter`: the new values rounded; may be undefined
  std::int64_t decay_end = 0;    // elements before it decay
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8, weight_decay = 0.1;
  torch::Tensor schedule, clip;
};

struct StepKernels {
  std::string_view name;
  // Whether it works on this device and type of parameters.
  bool (*supports)(const torch::Tensor& parameter);
  // Whether this back end gains by keeping the derivatives of smooth activations: where their arithmetic costs more than what it reads.
  bool keeps_derivative;
  void (*cross_entropy)(const CrossEntropy& call);
  void (*residual_norm)(const ResidualNorm& call);
  void (*residual_norm_gradient)(const ResidualNormGradient& call);
  void (*bias_activation)(const BiasActivation& call);
  void (*bias_activation_gradient)(const BiasActivationGradient& call);
  void (*column_sum)(const ColumnSum& call);
  void (*embedding)(const Embedding& call);
  void (*embedding_gradient)(const EmbeddingGradient& call);
  void (*gradient_norm)(const GradientNorm& call);
  void (*adamw)(const AdamWUpdate& call);
};

// Every back end of this build, fastest first; the last is "reference", ATen operators on any device and type, and the oracle of the tests.
const std::vector<const StepKernels*>& AllStepKernels();
// The first that supports the tensor.
const StepKernels& StepKernelsFor(const torch::Tensor& parameter);

const StepKernels& ReferenceStepKernels();
// float32 on the CPU, for the instruction set that this machine has (ENTRAIN_CPU_ISA as for attention); calls with other types in
// them go to the reference.
const StepKernels& CpuStepKernels();
#ifdef ENTRAIN_CUDA
const StepKernels& CudaStepKernels();
#endif

}  // namespace entrain::kernels
