// The small passes around attention's backward kernels for 16-bit numbers: the terms of every row, and dQ out of its float32 sum.
#pragma once

#include "model/kernels/cuda/attention_backward_queries.h"

namespace entrain::kernels::cuda {

// mean = dO . O + g H of rows, eight lanes a row, four rows a warp.
template <typename Element, int kWarps>
struct AttentionRowTerms {
  static constexpr int kThreads = 32 * kWarps;
  static constexpr int kRows = 4 * kWarps;
  static constexpr int kPiece = 16 / static_cast<int>(sizeof(Element));

  template <typename Thread>
  static ENTRAIN_BLOCK void Run(const Thread& thread, const AttentionBackwardCall& call, const BlockPlace& place) {
    const AttentionShape& shape = call.shape;
    const int row = place.tile * kRows + thread.index() / 8;
    const bool inside = row < shape.tokens;
    float dot = 0.0f;
    if (inside && call.d_out.data != nullptr) {
      const auto out = HeadOf<const Element>(call.out, place), d_out = HeadOf<const Element>(call.d_out, place);
      const Element* a = out.data + row * out.row_stride;
      const Element* b = d_out.data + row * d_out.row_stride;
      for (int at = kPiece * (thread.lane() & 7); at < shape.width; at += 8 * kPiece) dot = AddDot(thread, a + at, b + at, dot);
    }
    ENTRAIN_UNROLL
    for (int mask = 1; mask < 8; mask *= 2) dot += thread.ShuffleXor(dot, mask);
    if (!inside || (thread.lane() & 7) != 0) return;
    const std::int64_t at = FirstRowOf(shape, place) + row;
    RowTerms terms = StartTerms(call, at);
    terms.mean = dot;
    if (call.d_entropy_BHT != nullptr) terms.mean = fmaf(call.d_entropy_BHT[at], call.entropy_BHT[at], dot);
    call.row_terms_BHT[at] = terms;
  }

 private:
  template <typename Thread>
  static ENTRAIN_BLOCK float AddDot(const Thread& thread, const Element* a, const Element* b, float dot) {
    const Words4 left = *reinterpret_cast<const Words4*>(a), right = *reinterpret_cast<const Words4*>(b);
    ENTRAIN_UNROLL
    for (int i = 0; i < 4; ++i) {
      const Float2 x = thread.template Unpack<Element>(left.word[i]), y = thread.template Unpack<Element>(right.word[i]);
      dot = fmaf(x.y, y.y, fmaf(x.x, y.x, dot));
    }
    return dot;
  }
};

// dq = sum rounded, eight lanes a row.
template <typename Element, int kWarps>
struct AttentionRoundDq {
  static constexpr int kThreads = 32 * kWarps;
  static constexpr int kRows = 4 * kWarps;

  template <typename Thread>
  static ENTRAIN_BLOCK void Run(const Thread& thread, const AttentionBackwardCall& call, const BlockPlace& place) {
    const AttentionShape& shape = call.shape;
    const int row = place.tile * kRows + thread.index() / 8;
    if (row >= shape.tokens) return;
    const float* from = call.dq_sum_BHTW + (FirstRowOf(shape, place) + row) * shape.width;
    const auto dq = HeadOf<Element>(call.dq, place);
    Element* to = dq.data + row * dq.row_stride;
    for (int at = 8 * (thread.lane() & 7); at < shape.width; at += 64) {
      Words4 piece;
      ENTRAIN_UNROLL
      for (int i = 0; i < 4; ++i) piece.word[i] = thread.template Pack<Element>(from[at + 2 * i], from[at + 2 * i + 1]);
      *reinterpret_cast<Words4*>(to + at) = piece;
    }
  }
};

}  // namespace entrain::kernels::cuda
