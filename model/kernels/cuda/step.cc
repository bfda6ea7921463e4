// The step's kernels on CUDA: tensors in, launches out. Calls whose types or shapes the kernels do not take go to the reference.
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <initializer_list>

#include "model/kernels/cuda/step_launch.h"
#include "model/kernels/step_kernels.h"

namespace entrain::kernels {
namespace {

using torch::Tensor;

constexpr cuda::SchedulePlaces kSchedulePlaces{schedule::kLearningRate, schedule::kBiasCorrection1, schedule::kBiasCorrection2,
                                               schedule::kGradientScale};
constexpr cuda::ClipPlaces kClipPlaces{clip::kNorm, clip::kFactor, clip::kFinite};

CUstream_st* Stream() { return c10::cuda::getCurrentCUDAStream().stream(); }
void Check(const char* error) { TORCH_CHECK(error == nullptr, "a step's kernel on the GPU: ", error); }

// Calls work(Element()) with the kernels' type of the tensor; false if there is none.
template <typename Work>
bool WithType(torch::Dtype dtype, const Work& work) {
  switch (dtype) {
    case torch::kFloat32: work(float()); return true;
    case torch::kBFloat16: work(cuda::Bf16()); return true;
    case torch::kFloat16: work(cuda::Fp16()); return true;
    default: return false;
  }
}

template <typename Element>
cuda::RowsOf<Element> Rows(const Tensor& x) {
  if (!x.defined()) return {nullptr, 0};
  return {static_cast<Element*>(x.mutable_data_ptr()), x.dim() == 2 ? x.stride(0) : 0};
}

float* Floats(const Tensor& x) { return x.defined() ? x.mutable_data_ptr<float>() : nullptr; }

bool IsSingle(std::initializer_list<Tensor> tensors) {
  for (const Tensor& x : tensors) {
    if (x.defined() && x.scalar_type() != torch::kFloat32) return false;
  }
  return true;
}

// Whether every row of each begins at a multiple of `piece` numbers.
bool Aligned(std::int64_t piece, std::initializer_list<Tensor> tensors) {
  for (const Tensor& x : tensors) {
    if (!x.defined()) continue;
    const auto bytes = static_cast<std::uintptr_t>(piece * static_cast<std::int64_t>(x.element_size()));
    const std::int64_t stride = x.dim() == 2 && x.size(0) > 1 ? x.stride(0) : 0;
    if (reinterpret_cast<std::uintptr_t>(x.const_data_ptr()) % bytes != 0 || stride % piece != 0) return false;
    if (x.size(x.dim() - 1) % piece != 0) return false;
  }
  return true;
}

void CrossEntropyCuda(const CrossEntropy& call) {
  const c10::cuda::CUDAGuard guard(call.logits_NV.device());
  const Tensor labels_N = call.labels_N.contiguous();
  const bool done = IsSingle({call.loss_N, call.row_weight}) && WithType(call.logits_NV.scalar_type(), [&](auto element) {
    using Element = decltype(element);
    const cuda::CrossEntropyCall<Element> launch{Rows<Element>(call.logits_NV),
                                                 static_cast<int>(call.logits_NV.size(0)),
                                                 static_cast<int>(call.vocabulary),
                                                 static_cast<int>(call.logits_NV.size(1)),
                                                 labels_N.const_data_ptr<std::int64_t>(),
                                                 Floats(call.loss_N),
                                                 call.gradient ? Floats(call.row_weight) : nullptr};
    Check(LaunchCrossEntropy(launch, Aligned(cuda::kRowPiece<Element>, {call.logits_NV}), Stream()));
  });
  if (!done) ReferenceStepKernels().cross_entropy(call);
}

// The type of matrix products beside a row of float32; both, where both are there, must agree.
bool AgreedType(const Tensor& a, const Tensor& b, torch::Dtype* dtype) {
  if (a.defined() && b.defined() && a.scalar_type() != b.scalar_type()) return false;
  *dtype = a.defined() ? a.scalar_type() : b.defined() ? b.scalar_type() : torch::kFloat32;
  return true;
}

void ResidualNormCuda(const ResidualNorm& call) {
  const c10::cuda::CUDAGuard guard(call.residual_NC.device());
  const Tensor normed = call.gain_C.defined() ? call.normed_NC : Tensor();
  const std::int64_t width = call.residual_NC.size(1);
  const bool aligned = Aligned(cuda::kNormPiece, {call.residual_NC, call.delta_NC, call.bias_C, call.gain_C, call.shift_C,
                                                  call.delta_NC.defined() ? call.sum_NC : Tensor(), normed});
  torch::Dtype dtype = torch::kFloat32;
  const bool done =
      AgreedType(call.delta_NC, normed, &dtype) && width <= cuda::WidestNorm(aligned) &&
      IsSingle({call.residual_NC, call.bias_C, call.gain_C, call.shift_C, call.sum_NC, call.mean_N, call.inverse_deviation_N}) &&
      WithType(dtype, [&](auto element) {
        using Element = decltype(element);
        const cuda::ResidualNormCall<Element> launch{static_cast<int>(call.residual_NC.size(0)),
                                                     static_cast<int>(width),
                                                     Rows<const float>(call.residual_NC),
                                                     Rows<const Element>(call.delta_NC),
                                                     Floats(call.bias_C),
                                                     Floats(call.gain_C),
                                                     Floats(call.shift_C),
                                                     static_cast<float>(call.eps),
                                                     Rows<float>(call.delta_NC.defined() ? call.sum_NC : Tensor()),
                                                     Rows<Element>(normed),
                                                     Floats(call.mean_N),
                                                     Floats(call.inverse_deviation_N)};
        Check(LaunchResidualNorm(launch, aligned, Stream()));
      });
  if (!done) ReferenceStepKernels().residual_norm(call);
}

void AddPartials(const Tensor& partial, std::int64_t first_column, const Tensor& out, bool accumulate) {
  if (!out.defined()) return;
  const cuda::ColumnSumsCall launch{Floats(partial) + first_column,         static_cast<int>(partial.size(0)),
                                    static_cast<int>(out.numel()),          static_cast<int>(partial.size(1)),
                                    Floats(out),                            accumulate ? 1 : 0};
  Check(LaunchColumnSums(launch, Stream()));
}

void ResidualNormGradientCuda(const ResidualNormGradient& call) {
  const c10::cuda::CUDAGuard guard(call.d_sum_NC.device());
  const bool norm = call.gain_C.defined();
  const std::int64_t rows = call.d_sum_NC.size(0), width = call.d_sum_NC.size(1);
  const Tensor d_normed = norm ? call.d_normed_NC : Tensor(), sum = norm ? call.sum_NC : Tensor();
  const bool aligned = Aligned(cuda::kNormPiece, {d_normed, sum, call.gain_C, call.d_sum_NC, call.d_delta_NC});
  torch::Dtype dtype = torch::kFloat32;
  const bool done =
      AgreedType(d_normed, call.d_delta_NC, &dtype) && width <= cuda::WidestNorm(aligned) &&
      IsSingle({sum, call.mean_N, call.inverse_deviation_N, call.gain_C, call.d_sum_NC, call.d_gain_C, call.d_shift_C, call.d_bias_C}) &&
      WithType(dtype, [&](auto element) {
        using Element = decltype(element);
        const bool sums = norm || call.d_bias_C.defined();
        const Tensor partial =
            sums ? at::empty({cuda::NormGradientBlocks(static_cast<int>(rows)), 3 * width}, call.d_sum_NC.options()) : Tensor();
        const cuda::ResidualNormGradientCall<Element> launch{static_cast<int>(rows),
                                                             static_cast<int>(width),
                                                             Rows<const Element>(d_normed),
                                                             Rows<const float>(sum),
                                                             norm ? Floats(call.mean_N) : nullptr,
                                                             norm ? Floats(call.inverse_deviation_N) : nullptr,
                                                             Floats(call.gain_C),
                                                             Rows<float>(call.d_sum_NC),
                                                             Rows<Element>(call.d_delta_NC),
                                                             Floats(partial)};
        Check(LaunchResidualNormGradient(launch, aligned, Stream()));
        if (norm) AddPartials(partial, 0, call.d_gain_C, call.accumulate);
        if (norm) AddPartials(partial, width, call.d_shift_C, call.accumulate);
        AddPartials(partial, 2 * width, call.d_bias_C, call.accumulate);
      });
  if (!done) ReferenceStepKernels().residual_norm_gradient(call);
}

cuda::Activation KindOf(ActivationKind kind) {
  switch (kind) {
    case ActivationKind::kIdentity: return cuda::Activation::kIdentity;
    case ActivationKind::kRelu: return cuda::Activation::kRelu;
    case ActivationKind::kLeakyRelu: return cuda::Activation::kLeakyRelu;
    case ActivationKind::kGeluErf: return cuda::Activation::kGeluErf;
    case ActivationKind::kGeluTanh: return cuda::Activation::kGeluTanh;
  }
  return cuda::Activation::kIdentity;
}

Tensor SlopeOf(ActivationKind kind, const Tensor& slope) { return kind == ActivationKind::kLeakyRelu ? slope : Tensor(); }

void BiasActivationCuda(const BiasActivation& call) {
  const c10::cuda::CUDAGuard guard(call.x_NF.device());
  const Tensor slope = SlopeOf(call.kind, call.slope);
  const bool done = !call.derivative_NF.defined() && call.y_NF.scalar_type() == call.x_NF.scalar_type() &&
                    IsSingle({call.bias_F, slope}) && WithType(call.x_NF.scalar_type(), [&](auto element) {
                      using Element = decltype(element);
                      const cuda::BiasActivationCall<Element> launch{
                          static_cast<int>(call.x_NF.size(0)), static_cast<int>(call.x_NF.size(1)), Rows<const Element>(call.x_NF),
                          Floats(call.bias_F), Floats(slope), Rows<Element>(call.y_NF)};
                      const bool aligned = Aligned(cuda::kRowPiece<Element>, {call.x_NF, call.y_NF}) &&
                                           Aligned(4, {call.bias_F});
                      Check(LaunchBiasActivation(KindOf(call.kind), launch, aligned, Stream()));
                    });
  if (!done) ReferenceStepKernels().bias_activation(call);
}

// With d_x undefined only the sums are made.
template <typename Element>
void ActivationGradient(const BiasActivationGradient& call, const Tensor& x_NF) {
  const Tensor slope = SlopeOf(call.kind, call.slope), d_slope = SlopeOf(call.kind, call.d_slope);
  const bool aligned = Aligned(cuda::kRowPiece<Element>, {x_NF, call.d_y_NF, call.d_x_NF}) && Aligned(4, {call.bias_F});
  const std::int64_t rows = call.d_y_NF.size(0), columns = call.d_y_NF.size(1);
  const std::int64_t row_blocks = cuda::ActivationGradientBlocks(static_cast<int>(rows));
  const std::int64_t strips = cuda::ActivationStrips<Element>(static_cast<int>(columns), aligned);
  const auto options = call.d_y_NF.options().dtype(torch::kFloat32);
  const Tensor partial = call.d_bias_F.defined() ? at::empty({row_blocks, columns}, options) : Tensor();
  const Tensor slope_partial = d_slope.defined() ? at::empty({row_blocks * strips, 1}, options) : Tensor();
  const cuda::BiasActivationGradientCall<Element> launch{static_cast<int>(rows),
                                                         static_cast<int>(columns),
                                                         Rows<const Element>(x_NF),
                                                         Floats(call.bias_F),
                                                         Floats(slope),
                                                         Rows<const Element>(call.d_y_NF),
                                                         Rows<Element>(call.d_x_NF),
                                                         Floats(partial),
                                                         Floats(slope_partial)};
  Check(LaunchBiasActivationGradient(KindOf(call.kind), launch, aligned, Stream()));
  if (partial.defined()) AddPartials(partial, 0, call.d_bias_F, call.accumulate);
  if (slope_partial.defined()) AddPartials(slope_partial, 0, d_slope, call.accumulate);
}

void BiasActivationGradientCuda(const BiasActivationGradient& call) {
  const c10::cuda::CUDAGuard guard(call.d_y_NF.device());
  const torch::Dtype dtype = call.d_y_NF.scalar_type();
  if (call.derivative_NF.defined()) return ReferenceStepKernels().bias_activation_gradient(call);
  const bool needs_x = call.kind != ActivationKind::kIdentity;
  const Tensor x_NF = needs_x ? call.x_NF : Tensor();
  const bool one_type = call.d_x_NF.scalar_type() == dtype && (!needs_x || x_NF.scalar_type() == dtype);
  const bool done = one_type && IsSingle({call.bias_F, SlopeOf(call.kind, call.slope), call.d_bias_F, call.d_slope}) &&
                    WithType(dtype, [&](auto element) { ActivationGradient<decltype(element)>(call, x_NF); });
  if (!done) ReferenceStepKernels().bias_activation_gradient(call);
}

void ColumnSumCuda(const ColumnSum& call) {
  const c10::cuda::CUDAGuard guard(call.x_NF.device());
  BiasActivationGradient sums;
  sums.kind = ActivationKind::kIdentity;
  sums.d_y_NF = call.x_NF;
  sums.d_bias_F = call.out_F;
  sums.accumulate = call.accumulate;
  const bool done = IsSingle({call.out_F}) && WithType(call.x_NF.scalar_type(), [&](auto element) {
    ActivationGradient<decltype(element)>(sums, Tensor());
  });
  if (!done) ReferenceStepKernels().column_sum(call);
}

void EmbeddingCuda(const Embedding& call) {
  const c10::cuda::CUDAGuard guard(call.x_NC.device());
  if (!IsSingle({call.table_VC, call.positions_PC, call.x_NC})) return ReferenceStepKernels().embedding(call);
  const Tensor tokens_N = call.tokens_N.contiguous();
  const cuda::EmbeddingCall launch{tokens_N.const_data_ptr<std::int64_t>(), static_cast<int>(call.x_NC.size(0)),
                                   static_cast<int>(call.context),          static_cast<int>(call.x_NC.size(1)),
                                   Rows<const float>(call.table_VC),        Rows<const float>(call.positions_PC),
                                   Rows<float>(call.x_NC)};
  Check(LaunchEmbedding(launch, Aligned(4, {call.table_VC, call.positions_PC, call.x_NC}), Stream()));
}

void EmbeddingGradientCuda(const EmbeddingGradient& call) {
  const c10::cuda::CUDAGuard guard(call.d_x_NC.device());
  if (!IsSingle({call.d_x_NC, call.d_table_VC, call.d_positions_PC})) return ReferenceStepKernels().embedding_gradient(call);
  // Stable, so that a token's rows are added in their order.
  const auto [sorted_N, order_N] = at::sort(call.tokens_N.contiguous(), /*stable=*/true, /*dim=*/0, /*descending=*/false);
  const bool all_positions = !call.accumulate;  // those beyond the context are zeroed
  const cuda::EmbeddingGradientCall launch{sorted_N.const_data_ptr<std::int64_t>(),
                                           order_N.const_data_ptr<std::int64_t>(),
                                           static_cast<int>(call.d_x_NC.size(0)),
                                           static_cast<int>(call.context),
                                           static_cast<int>(call.d_x_NC.size(1)),
                                           static_cast<int>(all_positions ? call.d_positions_PC.size(0) : call.context),
                                           call.accumulate ? 1 : 0,
                                           Rows<const float>(call.d_x_NC),
                                           Rows<float>(call.d_table_VC),
                                           Rows<float>(call.d_positions_PC)};
  Check(LaunchEmbeddingGradient(launch, Aligned(4, {call.d_x_NC, call.d_table_VC, call.d_positions_PC}), Stream()));
}

void GradientNormCuda(const GradientNorm& call) {
  const c10::cuda::CUDAGuard guard(call.gradient.device());
  if (!IsSingle({call.gradient})) return ReferenceStepKernels().gradient_norm(call);
  const auto blocks = static_cast<int>(call.gradient.numel() / 1024);
  const int partials = cuda::Smaller(blocks, cuda::kNormPartials);
  const Tensor partial = at::empty({partials}, call.clip.options());
  const cuda::GradientNormCall launch{Floats(call.gradient),
                                      blocks,
                                      partial.mutable_data_ptr<double>(),
                                      partials,
                                      call.max_norm,
                                      call.schedule.const_data_ptr<double>(),
                                      call.clip.mutable_data_ptr<double>(),
                                      kSchedulePlaces,
                                      kClipPlaces};
  Check(LaunchGradientNorm(launch, Stream()));
}

void AdamWCuda(const AdamWUpdate& call) {
  const c10::cuda::CUDAGuard guard(call.parameter.device());
  const torch::Dtype copy = call.parameter_copy.defined() ? call.parameter_copy.scalar_type() : torch::kFloat32;
  const bool pieces = call.parameter.numel() % 4 == 0 && call.decay_end % 4 == 0 &&
                      Aligned(4, {call.parameter, call.gradient, call.first_moment, call.second_moment, call.parameter_copy});
  const bool done = pieces && IsSingle({call.parameter, call.gradient, call.first_moment, call.second_moment}) &&
                    WithType(copy, [&](auto element) {
                      using Copy = decltype(element);
                      const cuda::AdamWCall<Copy> launch{Floats(call.parameter),
                                                         Floats(call.first_moment),
                                                         Floats(call.second_moment),
                                                         Floats(call.gradient),
                                                         Rows<Copy>(call.parameter_copy).data,
                                                         call.parameter.numel(),
                                                         call.decay_end,
                                                         static_cast<float>(1.0 - call.beta1),
                                                         static_cast<float>(call.beta2),
                                                         static_cast<float>(1.0 - call.beta2),
                                                         static_cast<float>(call.eps),
                                                         static_cast<float>(call.weight_decay),
                                                         call.schedule.const_data_ptr<double>(),
                                                         call.clip.const_data_ptr<double>(),
                                                         kSchedulePlaces,
                                                         kClipPlaces};
                      Check(LaunchAdamW(launch, Stream()));
                    });
  if (!done) ReferenceStepKernels().adamw(call);
}

bool SupportsCuda(const Tensor& parameter) { return parameter.is_cuda() && parameter.scalar_type() == torch::kFloat32; }

}  // namespace

const StepKernels& CudaStepKernels() {
  static const StepKernels kernels{"cuda",
                                   SupportsCuda,
                                   false,
                                   CrossEntropyCuda,
                                   ResidualNormCuda,
                                   ResidualNormGradientCuda,
                                   BiasActivationCuda,
                                   BiasActivationGradientCuda,
                                   ColumnSumCuda,
                                   EmbeddingCuda,
                                   EmbeddingGradientCuda,
                                   GradientNormCuda,
                                   AdamWCuda};
  return kernels;
}

}  // namespace entrain::kernels
