// What an attention kernel is told: plain values that travel to the GPU as they are.
//
// Shape suffixes: B batch, H heads, T tokens.
#pragma once

#include <cstdint>

#include "model/kernels/cuda/block_program.h"
#include "model/kernels/cuda/shared_tile.h"

namespace entrain::kernels::cuda {

constexpr float kLog2E = 1.4426950408889634f;
constexpr float kLn2 = 0.6931471805599453f;

struct AttentionShape {
  int batch, heads, tokens;
  int width;  // a multiple of 16 bytes; at most the kernel's
  float scale;  // positive
  int causal;
};

// Strides in elements, multiples of 16 bytes, as is the address.
struct StridedHeads {
  void* data;
  std::int64_t batch_stride, head_stride, row_stride;
};

struct AttentionForwardCall {
  AttentionShape shape;
  StridedHeads q, k, v, out;
  float* entropy_BHT;       // nats; null where the kernel does not measure it
  float* row_max_BHT;       // scaled scores
  float* log_sum_BHT;       // nats
  float* max_abs_score_BH;  // zero before the launch
};

// What the backward pass needs of a row, one 16-byte load.
//     log2 p = (score - row_max) scale log2(e) - log2_sum,   dS = p (dP - mean - entropy_gradient log2 p)
struct alignas(16) RowTerms {
  float row_max;  // before scaling
  float log2_sum;
  float mean;  // D + g H
  float entropy_gradient;  // g ln 2
};

struct AttentionBackwardCall {
  AttentionShape shape;
  StridedHeads q, k, v, out, d_out;  // d_out.data null: no gradient comes through the output
  const float* entropy_BHT;
  const float* row_max_BHT;
  const float* log_sum_BHT;
  const float* d_entropy_BHT;  // null: none comes through the entropy
  RowTerms* row_terms_BHT;     // scratch
  StridedHeads dq, dk, dv;
  float* dq_sum_BHTW;  // zero before the launch; null: the deterministic mode
};

// Which tile of which head a block works on.
struct BlockPlace {
  int tile, head, batch;
};

template <typename Element>
ENTRAIN_BLOCK HeadRows<Element> HeadOf(const StridedHeads& heads, const BlockPlace& place) {
  return {static_cast<Element*>(heads.data) + place.batch * heads.batch_stride + place.head * heads.head_stride, heads.row_stride};
}

// Where the head's rows begin in a [B,H,T] array.
ENTRAIN_BLOCK std::int64_t FirstRowOf(const AttentionShape& shape, const BlockPlace& place) {
  return (static_cast<std::int64_t>(place.batch) * shape.heads + place.head) * shape.tokens;
}

ENTRAIN_EVERYWHERE constexpr int Smaller(int a, int b) { return a < b ? a : b; }
ENTRAIN_EVERYWHERE constexpr int TilesFor(int count, int tile) { return (count + tile - 1) / tile; }

}  // namespace entrain::kernels::cuda
