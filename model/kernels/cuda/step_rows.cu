#include "model/kernels/cuda/block_kernel.cuh"
#include "model/kernels/cuda/step_launch.h"

namespace entrain::kernels::cuda {
namespace {

// Rows of 50,000 columns: many threads a row.
constexpr int kLossWarps = 16;

template <template <typename, typename> class Rows, typename Arithmetic, typename Visit>
const char* ForNormWidth(int width, bool aligned, const Visit& visit) {
  if (!aligned) return visit.template operator()<Rows<Arithmetic, RowShare<8, 1, 8>>>();
  if (width <= 256) return visit.template operator()<Rows<Arithmetic, RowShare<1, kNormPiece, 2>>>();
  if (width <= 768) return visit.template operator()<Rows<Arithmetic, RowShare<1, kNormPiece, 6>>>();
  if (width <= 1024) return visit.template operator()<Rows<Arithmetic, RowShare<1, kNormPiece, 8>>>();
  if (width <= 2048) return visit.template operator()<Rows<Arithmetic, RowShare<8, kNormPiece, 2>>>();
  return visit.template operator()<Rows<Arithmetic, RowShare<8, kNormPiece, 8>>>();
}

template <typename Call>
struct NormLaunch {
  const Call& call;
  cudaStream_t stream;
  template <typename Rows>
  const char* operator()() const {
    return Launch<Rows>(call, TilesFor(call.rows, Rows::kRows), stream);
  }
};

template <typename Call>
struct NormGradientLaunch {
  const Call& call;
  cudaStream_t stream;
  template <typename Rows>
  const char* operator()() const {
    const int blocks = NormGradientBlocks(call.rows);
    return LaunchSharing<Rows>(call, blocks, 1, blocks, stream);
  }
};

}  // namespace

template <typename Element>
const char* LaunchCrossEntropy(const CrossEntropyCall<Element>& call, bool aligned, CUstream_st* stream) {
  return aligned ? Launch<CrossEntropyRow<Element, kRowPiece<Element>, kLossWarps>>(call, call.rows, stream)
                 : Launch<CrossEntropyRow<Element, 1, kLossWarps>>(call, call.rows, stream);
}

template <typename Arithmetic>
const char* LaunchResidualNorm(const ResidualNormCall<Arithmetic>& call, bool aligned, CUstream_st* stream) {
  return ForNormWidth<ResidualNormRows, Arithmetic>(call.width, aligned, NormLaunch<ResidualNormCall<Arithmetic>>{call, stream});
}

template <typename Arithmetic>
const char* LaunchResidualNormGradient(const ResidualNormGradientCall<Arithmetic>& call, bool aligned, CUstream_st* stream) {
  return ForNormWidth<ResidualNormGradientRows, Arithmetic>(call.width, aligned,
                                                            NormGradientLaunch<ResidualNormGradientCall<Arithmetic>>{call, stream});
}

template <typename Copy>
const char* LaunchAdamW(const AdamWCall<Copy>& call, CUstream_st* stream) {
  using Pieces = AdamWPieces<Copy>;
  constexpr std::int64_t kBlock = Pieces::kPiece * Pieces::kThreads;
  return Launch<Pieces>(call, static_cast<int>((call.count + kBlock - 1) / kBlock), stream);
}

template const char* LaunchCrossEntropy(const CrossEntropyCall<float>&, bool, CUstream_st*);
template const char* LaunchCrossEntropy(const CrossEntropyCall<Bf16>&, bool, CUstream_st*);
template const char* LaunchCrossEntropy(const CrossEntropyCall<Fp16>&, bool, CUstream_st*);
template const char* LaunchResidualNorm(const ResidualNormCall<float>&, bool, CUstream_st*);
template const char* LaunchResidualNorm(const ResidualNormCall<Bf16>&, bool, CUstream_st*);
template const char* LaunchResidualNorm(const ResidualNormCall<Fp16>&, bool, CUstream_st*);
template const char* LaunchResidualNormGradient(const ResidualNormGradientCall<float>&, bool, CUstream_st*);
template const char* LaunchResidualNormGradient(const ResidualNormGradientCall<Bf16>&, bool, CUstream_st*);
template const char* LaunchResidualNormGradient(const ResidualNormGradientCall<Fp16>&, bool, CUstream_st*);
template const char* LaunchAdamW(const AdamWCall<float>&, CUstream_st*);
template const char* LaunchAdamW(const AdamWCall<Bf16>&, CUstream_st*);
template const char* LaunchAdamW(const AdamWCall<Fp16>&, CUstream_st*);

const char* LaunchColumnSums(const ColumnSumsCall& call, CUstream_st* stream) {
  return Launch<ColumnSums>(call, TilesFor(call.columns, ColumnSums::kColumns), stream);
}

const char* LaunchEmbedding(const EmbeddingCall& call, bool aligned, CUstream_st* stream) {
  return aligned ? Launch<EmbeddingRows<4>>(call, TilesFor(call.rows, 8), stream)
                 : Launch<EmbeddingRows<1>>(call, TilesFor(call.rows, 8), stream);
}

const char* LaunchEmbeddingGradient(const EmbeddingGradientCall& call, bool aligned, CUstream_st* stream) {
  const char* error = aligned ? Launch<TokenGradients<4>>(call, call.rows, stream) : Launch<TokenGradients<1>>(call, call.rows, stream);
  if (error != nullptr) return error;
  return aligned ? Launch<PositionGradients<4>>(call, call.position_rows, stream)
                 : Launch<PositionGradients<1>>(call, call.position_rows, stream);
}

const char* LaunchGradientNorm(const GradientNormCall& call, CUstream_st* stream) {
  const char* error = Launch<GradientSquares>(call, call.partials, stream);
  return error != nullptr ? error : Launch<ClipFactor>(call, 1, stream);
}

}  // namespace entrain::kernels::cuda
