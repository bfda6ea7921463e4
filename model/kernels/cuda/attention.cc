// The CUDA back end of the attention operator: tensors in, launches out.
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <vector>

#include "model/kernels/backends.h"
#include "model/kernels/cuda/attention_launch.h"

namespace entrain::kernels {
namespace {

using torch::Tensor;

cuda::AttentionType TypeOf(const Tensor& x) {
  switch (x.scalar_type()) {
    case torch::kBFloat16: return cuda::AttentionType::kBf16;
    case torch::kFloat16: return cuda::AttentionType::kFp16;
    default: return cuda::AttentionType::kFloat32;
  }
}

// Numbers in 16 bytes, the unit of every copy.
std::int64_t Piece(const Tensor& x) { return 16 / static_cast<std::int64_t>(x.element_size()); }

// Whether the kernels can read and write it where it lies.
bool IsAligned(const Tensor& x_BHTD) {
  const std::int64_t piece = Piece(x_BHTD);
  if (x_BHTD.size(3) % piece != 0 || (x_BHTD.size(3) > 1 && x_BHTD.stride(3) != 1)) return false;
  for (const std::int64_t dim : {0, 1, 2}) {
    if (x_BHTD.size(dim) > 1 && x_BHTD.stride(dim) % piece != 0) return false;
  }
  return reinterpret_cast<std::uintptr_t>(x_BHTD.const_data_ptr()) % 16 == 0;
}

std::int64_t PaddedWidth(const Tensor& x) {
  const std::int64_t piece = Piece(x);
  return (x.size(3) + piece - 1) / piece * piece;
}

// The tensor, or a copy with columns of zeros up to whole pieces. All of one call must agree on the width.
Tensor Readable(const Tensor& x_BHTD) {
  if (IsAligned(x_BHTD)) return x_BHTD;
  return at::constant_pad_nd(x_BHTD, {0, PaddedWidth(x_BHTD) - x_BHTD.size(3)}).contiguous();
}

// Somewhere to write a result; Deliver brings it home.
Tensor Writable(const Tensor& x_BHTD) {
  if (IsAligned(x_BHTD)) return x_BHTD;
  return at::empty({x_BHTD.size(0), x_BHTD.size(1), x_BHTD.size(2), PaddedWidth(x_BHTD)}, x_BHTD.options());
}

void Deliver(const Tensor& written, Tensor* x_BHTD) {
  if (!written.is_same(*x_BHTD)) x_BHTD->copy_(written.narrow(3, 0, x_BHTD->size(3)));
}

cuda::StridedHeads HeadsOf(const Tensor& x_BHTD) {
  return {x_BHTD.mutable_data_ptr(), x_BHTD.stride(0), x_BHTD.stride(1), x_BHTD.stride(2)};
}

float* FloatsOf(const Tensor& x) { return x.defined() ? x.mutable_data_ptr<float>() : nullptr; }

cuda::AttentionShape ShapeOf(const AttentionInputs& inputs) {
  const Tensor& q = inputs.q_BHTD;
  TORCH_CHECK(inputs.scale > 0.0, "the attention kernels need a positive scale, got ", inputs.scale);
  return {static_cast<int>(q.size(0)),      static_cast<int>(q.size(1)),       static_cast<int>(q.size(2)),
          static_cast<int>(PaddedWidth(q)), static_cast<float>(inputs.scale), inputs.causal ? 1 : 0};
}

void Check(const char* error) { TORCH_CHECK(error == nullptr, "attention on the GPU: ", error); }

bool SupportsCuda(const AttentionInputs& inputs) {
  const Tensor& q = inputs.q_BHTD;
  const bool type = q.scalar_type() == torch::kBFloat16 || q.scalar_type() == torch::kFloat16 || q.scalar_type() == torch::kFloat32;
  constexpr std::int64_t kMostBlocks = 65535;  // of a grid's second and third dimension
  return q.is_cuda() && type && q.size(3) <= cuda::kWidestAttentionHead && q.numel() > 0 && q.size(0) <= kMostBlocks &&
         q.size(1) <= kMostBlocks && inputs.k_BHTD.size(2) == q.size(2);
}

void ForwardCuda(const AttentionInputs& inputs, AttentionOutputs& outputs) {
  const c10::cuda::CUDAGuard guard(inputs.q_BHTD.device());
  const cuda::AttentionType type = TypeOf(inputs.q_BHTD);
  const Tensor q = Readable(inputs.q_BHTD), k = Readable(inputs.k_BHTD), v = Readable(inputs.v_BHTD);
  const Tensor out = Writable(outputs.out_BHTD);
  // Only bf16 is compiled without entropy; the others measure it for nobody.
  const bool wanted = outputs.entropy_BHT.defined(), measured = wanted || type != cuda::AttentionType::kBf16;
  const Tensor entropy_BHT = wanted || !measured ? outputs.entropy_BHT : at::empty_like(outputs.row_max_BHT);
  outputs.max_abs_score_BH.zero_();
  const cuda::AttentionForwardCall call{ShapeOf(inputs),       HeadsOf(q), HeadsOf(k), HeadsOf(v), HeadsOf(out), FloatsOf(entropy_BHT),
                                        FloatsOf(outputs.row_max_BHT), FloatsOf(outputs.log_sum_BHT), FloatsOf(outputs.max_abs_score_BH)};
  Check(LaunchAttentionForward(type, call, measured, c10::cuda::getCurrentCUDAStream().stream()));
  Deliver(out, &outputs.out_BHTD);
}

void BackwardCuda(const AttentionInputs& inputs, const AttentionOutputs& outputs, const AttentionOutputGradients& output_gradients,
                  AttentionInputGradients& gradients) {
  const c10::cuda::CUDAGuard guard(inputs.q_BHTD.device());
  const cuda::AttentionType type = TypeOf(inputs.q_BHTD);
  const Tensor q = Readable(inputs.q_BHTD), k = Readable(inputs.k_BHTD), v = Readable(inputs.v_BHTD), out = Readable(outputs.out_BHTD);
  const Tensor dq = Writable(gradients.dq_BHTD), dk = Writable(gradients.dk_BHTD), dv = Writable(gradients.dv_BHTD);
  const Tensor d_out = output_gradients.d_out_BHTD.defined() ? Readable(output_gradients.d_out_BHTD) : Tensor();
  const Tensor d_entropy = output_gradients.d_entropy_BHT.defined() ? output_gradients.d_entropy_BHT.contiguous() : Tensor();
  const Tensor entropy = outputs.entropy_BHT;
  const auto float_options = outputs.row_max_BHT.options();
  const Tensor terms = at::empty({outputs.row_max_BHT.numel(), 4}, float_options);
  const bool sum_in_order = inputs.deterministic || type == cuda::AttentionType::kFloat32;
  const Tensor dq_sum = sum_in_order ? Tensor() : at::zeros({q.size(0), q.size(1), q.size(2), q.size(3)}, float_options);
  const cuda::AttentionBackwardCall call{ShapeOf(inputs),
                                         HeadsOf(q),
                                         HeadsOf(k),
                                         HeadsOf(v),
                                         HeadsOf(out),
                                         d_out.defined() ? HeadsOf(d_out) : cuda::StridedHeads{nullptr, 0, 0, 0},
                                         FloatsOf(entropy),
                                         FloatsOf(outputs.row_max_BHT),
                                         FloatsOf(outputs.log_sum_BHT),
                                         FloatsOf(d_entropy),
                                         reinterpret_cast<cuda::RowTerms*>(terms.mutable_data_ptr<float>()),
                                         HeadsOf(dq),
                                         HeadsOf(dk),
                                         HeadsOf(dv),
                                         FloatsOf(dq_sum)};
  const bool through_entropy = d_entropy.defined() || type != cuda::AttentionType::kBf16;
  Check(LaunchAttentionBackward(type, call, through_entropy, c10::cuda::getCurrentCUDAStream().stream()));
  Deliver(dq, &gradients.dq_BHTD);
  Deliver(dk, &gradients.dk_BHTD);
  Deliver(dv, &gradients.dv_BHTD);
}

}  // namespace

const AttentionBackend& CudaBackend() {
  static const AttentionBackend backend{"cuda", SupportsCuda, ForwardCuda, BackwardCuda};
  return backend;
}

}  // namespace entrain::kernels
