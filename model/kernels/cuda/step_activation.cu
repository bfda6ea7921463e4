#include "model/kernels/cuda/block_kernel.cuh"
#include "model/kernels/cuda/step_launch.h"

namespace entrain::kernels::cuda {
namespace {

// Without sums to share, more blocks keep the GPU busier.
constexpr int kForwardBlocks = 512;

template <Activation kKind, typename Element, int kPiece>
const char* Forward(const BiasActivationCall<Element>& call, cudaStream_t stream) {
  using Rows = BiasActivationRows<kKind, Element, kPiece>;
  const int blocks = Smaller(TilesFor(call.rows, 8), kForwardBlocks);
  return LaunchSharing<Rows>(call, TilesFor(call.columns, Rows::kColumns), blocks, blocks, stream);
}

template <Activation kKind, typename Element, int kPiece>
const char* Gradient(const BiasActivationGradientCall<Element>& call, cudaStream_t stream) {
  using Rows = BiasActivationGradientRows<kKind, Element, kPiece>;
  const int blocks = ActivationGradientBlocks(call.rows);
  return LaunchSharing<Rows>(call, TilesFor(call.columns, Rows::kColumns), blocks, blocks, stream);
}

template <Activation kKind, typename Element>
const char* ForwardOf(const BiasActivationCall<Element>& call, bool aligned, cudaStream_t stream) {
  return aligned ? Forward<kKind, Element, kRowPiece<Element>>(call, stream) : Forward<kKind, Element, 1>(call, stream);
}

template <Activation kKind, typename Element>
const char* GradientOf(const BiasActivationGradientCall<Element>& call, bool aligned, cudaStream_t stream) {
  return aligned ? Gradient<kKind, Element, kRowPiece<Element>>(call, stream) : Gradient<kKind, Element, 1>(call, stream);
}

}  // namespace

template <typename Element>
const char* LaunchBiasActivation(Activation kind, const BiasActivationCall<Element>& call, bool aligned, CUstream_st* stream) {
  switch (kind) {
    case Activation::kIdentity: return ForwardOf<Activation::kIdentity>(call, aligned, stream);
    case Activation::kRelu: return ForwardOf<Activation::kRelu>(call, aligned, stream);
    case Activation::kLeakyRelu: return ForwardOf<Activation::kLeakyRelu>(call, aligned, stream);
    case Activation::kGeluErf: return ForwardOf<Activation::kGeluErf>(call, aligned, stream);
    case Activation::kGeluTanh: return ForwardOf<Activation::kGeluTanh>(call, aligned, stream);
  }
  return "an unknown activation";
}

template <typename Element>
const char* LaunchBiasActivationGradient(Activation kind, const BiasActivationGradientCall<Element>& call, bool aligned,
                                         CUstream_st* stream) {
  switch (kind) {
    case Activation::kIdentity: return GradientOf<Activation::kIdentity>(call, aligned, stream);
    case Activation::kRelu: return GradientOf<Activation::kRelu>(call, aligned, stream);
    case Activation::kLeakyRelu: return GradientOf<Activation::kLeakyRelu>(call, aligned, stream);
    case Activation::kGeluErf: return GradientOf<Activation::kGeluErf>(call, aligned, stream);
    case Activation::kGeluTanh: return GradientOf<Activation::kGeluTanh>(call, aligned, stream);
  }
  return "an unknown activation";
}

template const char* LaunchBiasActivation(Activation, const BiasActivationCall<float>&, bool, CUstream_st*);
template const char* LaunchBiasActivation(Activation, const BiasActivationCall<Bf16>&, bool, CUstream_st*);
template const char* LaunchBiasActivation(Activation, const BiasActivationCall<Fp16>&, bool, CUstream_st*);
template const char* LaunchBiasActivationGradient(Activation, const BiasActivationGradientCall<float>&, bool, CUstream_st*);
template const char* LaunchBiasActivationGradient(Activation, const BiasActivationGradientCall<Bf16>&, bool, CUstream_st*);
template const char* LaunchBiasActivationGradient(Activation, const BiasActivationGradientCall<Fp16>&, bool, CUstream_st*);

}  // namespace entrain::kernels::cuda
