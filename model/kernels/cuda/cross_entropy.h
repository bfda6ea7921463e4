// Loss and gradient of a row of logits, a block a row: one pass for maximum and sum, one that writes the gradient over the logits.
#pragma once

#include <math.h>

#include "model/kernels/cuda/attention_call.h"
#include "model/kernels/cuda/row_access.h"

namespace entrain::kernels::cuda {

template <typename Element>
struct CrossEntropyCall {
  RowsOf<Element> logits;
  int rows, vocabulary, columns;  // columns from `vocabulary` on are padding
  const std::int64_t* labels;
  float* loss;
  const float* row_weight;  // null: the logits stay
};

template <typename ElementType, int kPieceValue, int kWarpsValue>
struct CrossEntropyRow {
  using Element = ElementType;
  using Call = CrossEntropyCall<Element>;
  static constexpr int kPiece = kPieceValue, kWarps = kWarpsValue, kThreads = 32 * kWarps;
  static constexpr int kSharedBytes = 2 * kWarps * static_cast<int>(sizeof(float));
  using Access = Piece<Element, kPiece>;

  template <typename Thread>
  static ENTRAIN_BLOCK void Run(const Thread& thread, const Call& call, const BlockPlace& place, unsigned char* shared) {
    const int row = place.tile;
    Element* logits = call.logits.Row(row);
    const std::int64_t label = call.labels[row];
    if (label < 0) {
      if (thread.index() == 0) call.loss[row] = 0.0f;
      if (call.row_weight != nullptr) Fill(thread, call, logits);
      return;
    }
    float max = -INFINITY, sum = 0.0f;
    for (int at = kPiece * thread.index(); at < call.vocabulary; at += kPiece * kThreads) Absorb(thread, call, logits, at, &max, &sum);
    Combine(thread, reinterpret_cast<float*>(shared), &max, &sum);
    // A label beyond the vocabulary has no logit.
    const float own = label < call.vocabulary ? One(thread, logits + label) : NAN;
    thread.Sync();
    if (thread.index() == 0) call.loss[row] = logf(sum) + (max - own);
    if (call.row_weight == nullptr) return;
    const float weight = *call.row_weight, share = weight / sum;
    for (int at = kPiece * thread.index(); at < call.columns; at += kPiece * kThreads) {
      float x[kPiece];
      Access::Load(thread, logits + at, x);
      ENTRAIN_UNROLL
      for (int i = 0; i < kPiece; ++i) {
        const float gradient = thread.Exp2((x[i] - max) * kLog2E) * share - (at + i == label ? weight : 0.0f);
        x[i] = at + i < call.vocabulary ? gradient : 0.0f;
      }
      Access::Store(thread, logits + at, x);
    }
  }

 private:
  template <typename Thread>
  static ENTRAIN_BLOCK float One(const Thread& thread, const Element* place) {
    float x[1];
    Piece<Element, 1>::Load(thread, place, x);
    return x[0];
  }

  template <typename Thread>
  static ENTRAIN_BLOCK void Fill(const Thread& thread, const Call& call, Element* logits) {
    const float zeros[kPiece] = {};
    for (int at = kPiece * thread.index(); at < call.columns; at += kPiece * kThreads) Access::Store(thread, logits + at, zeros);
  }

  template <typename Thread>
  static ENTRAIN_BLOCK void Absorb(const Thread& thread, const Call& call, const Element* logits, int at, float* max, float* sum) {
    float x[kPiece];
    Access::Load(thread, logits + at, x);
    float now = *max;
    ENTRAIN_UNROLL
    for (int i = 0; i < kPiece; ++i) {
      if (at + i < call.vocabulary) now = fmaxf(now, x[i]);
    }
    // Where all logits so far are -inf or NaN there is nothing to shift by; NaN must still show.
    const float shift = now == -INFINITY ? 0.0f : now;
    float total = *sum * thread.Exp2((*max - shift) * kLog2E);
    ENTRAIN_UNROLL
    for (int i = 0; i < kPiece; ++i) {
      if (at + i < call.vocabulary) total += thread.Exp2((x[i] - shift) * kLog2E);
    }
    *max = now;
    *sum = total;
  }

  // Maximum and sum over the block, in every thread.
  template <typename Thread>
  static ENTRAIN_BLOCK void Combine(const Thread& thread, float* scratch, float* max, float* sum) {
    ENTRAIN_UNROLL
    for (int mask = 16; mask > 0; mask /= 2) Merge(thread, thread.ShuffleXor(*max, mask), thread.ShuffleXor(*sum, mask), max, sum);
    if (thread.lane() == 0) {
      scratch[2 * thread.warp()] = *max;
      scratch[2 * thread.warp() + 1] = *sum;
    }
    thread.Sync();
    *max = scratch[0];
    *sum = scratch[1];
    ENTRAIN_UNROLL
    for (int warp = 1; warp < kWarps; ++warp) Merge(thread, scratch[2 * warp], scratch[2 * warp + 1], max, sum);
  }

  template <typename Thread>
  static ENTRAIN_BLOCK void Merge(const Thread& thread, float other_max, float other_sum, float* max, float* sum) {
    const float now = fmaxf(*max, other_max), shift = now == -INFINITY ? 0.0f : now;
    *sum = *sum * thread.Exp2((*max - shift) * kLog2E) + other_sum * thread.Exp2((other_max - shift) * kLog2E);
    *max = now;
  }
};

}  // namespace entrain::kernels::cuda
