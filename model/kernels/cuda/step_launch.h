// Launches of the step's kernels; like attention_launch.h. `aligned`: every row begins at, and every stride is, a multiple of a piece.
#pragma once

#include "model/kernels/cuda/adamw.h"
#include "model/kernels/cuda/bias_activation.h"
#include "model/kernels/cuda/column_sums.h"
#include "model/kernels/cuda/cross_entropy.h"
#include "model/kernels/cuda/embedding.h"
#include "model/kernels/cuda/residual_norm.h"

struct CUstream_st;

namespace entrain::kernels::cuda {

// Numbers in a piece of a row: 16 bytes of the type; layer norm reads four at a time whatever the type.
template <typename Element>
constexpr int kRowPiece = 16 / static_cast<int>(sizeof(Element));
constexpr int kNormPiece = 4;

// Rows of partial sums. Constants, so that sums are cut alike on every GPU.
constexpr int kNormGradientBlocks = 512;
constexpr int kActivationGradientBlocks = 128;
constexpr int kNormPartials = 512;

// The widest row that the layer-norm kernels take.
constexpr int WidestNorm(bool aligned) { return aligned ? 8192 : 2048; }
ENTRAIN_EVERYWHERE constexpr int NormGradientBlocks(int rows) { return Smaller(TilesFor(rows, 8), kNormGradientBlocks); }
ENTRAIN_EVERYWHERE constexpr int ActivationGradientBlocks(int rows) { return Smaller(TilesFor(rows, 8), kActivationGradientBlocks); }
// Blocks side by side over the columns; each has a partial sum of the slope's gradient a row block.
template <typename Element>
constexpr int ActivationStrips(int columns, bool aligned) {
  return TilesFor(columns, 32 * (aligned ? kRowPiece<Element> : 1));
}

// Element and Arithmetic: float, Bf16, Fp16. All return the error's text, or null.
template <typename Element>
const char* LaunchCrossEntropy(const CrossEntropyCall<Element>& call, bool aligned, CUstream_st* stream);
template <typename Arithmetic>
const char* LaunchResidualNorm(const ResidualNormCall<Arithmetic>& call, bool aligned, CUstream_st* stream);
// Of NormGradientBlocks(rows) partial rows.
template <typename Arithmetic>
const char* LaunchResidualNormGradient(const ResidualNormGradientCall<Arithmetic>& call, bool aligned, CUstream_st* stream);
template <typename Element>
const char* LaunchBiasActivation(Activation kind, const BiasActivationCall<Element>& call, bool aligned, CUstream_st* stream);
// Of ActivationGradientBlocks(rows) partial rows.
template <typename Element>
const char* LaunchBiasActivationGradient(Activation kind, const BiasActivationGradientCall<Element>& call, bool aligned,
                                         CUstream_st* stream);
template <typename Copy>
const char* LaunchAdamW(const AdamWCall<Copy>& call, CUstream_st* stream);
const char* LaunchColumnSums(const ColumnSumsCall& call, CUstream_st* stream);
const char* LaunchEmbedding(const EmbeddingCall& call, bool aligned, CUstream_st* stream);
const char* LaunchEmbeddingGradient(const EmbeddingGradientCall& call, bool aligned, CUstream_st* stream);
const char* LaunchGradientNorm(const GradientNormCall& call, CUstream_st* stream);

}  // namespace entrain::kernels::cuda
