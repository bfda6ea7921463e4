// Token and position tables: their sum, and its gradient without atomics. Tokens are sorted (stably) before the gradient; the block of the
// first place of a token adds its rows in order.
#pragma once

#include "model/kernels/cuda/attention_call.h"
#include "model/kernels/cuda/row_access.h"

namespace entrain::kernels::cuda {

struct EmbeddingCall {
  const std::int64_t* tokens;
  int rows, context, width;
  RowsOf<const float> table, positions;
  RowsOf<float> x;
};

struct EmbeddingGradientCall {
  const std::int64_t* sorted_tokens;  // ascending
  const std::int64_t* order;          // where each stood
  int rows, context, width, position_rows, accumulate;
  RowsOf<const float> d_x;
  RowsOf<float> d_table, d_positions;
};

// A warp a row.
template <int kPiece>
struct EmbeddingRows {
  using Call = EmbeddingCall;
  static constexpr int kWarps = 8, kThreads = 256, kSharedBytes = 16;

  template <typename Thread>
  static ENTRAIN_BLOCK void Run(const Thread& thread, const Call& call, const BlockPlace& place, unsigned char*) {
    const int row = place.tile * kWarps + thread.warp();
    if (row >= call.rows) return;
    const float* token = call.table.Row(call.tokens[row]);
    const float* position = call.positions.Row(row % call.context);
    for (int column = kPiece * thread.lane(); column < call.width; column += 32 * kPiece) {
      float a[kPiece], b[kPiece];
      Piece<float, kPiece>::Load(thread, token + column, a);
      Piece<float, kPiece>::Load(thread, position + column, b);
      ENTRAIN_UNROLL
      for (int i = 0; i < kPiece; ++i) a[i] += b[i];
      Piece<float, kPiece>::Store(thread, call.x.Row(row) + column, a);
    }
  }
};

// A block a sorted place; only the first of a token works, and it may have thousands of rows, hence a whole block.
template <int kPiece>
struct TokenGradients {
  using Call = EmbeddingGradientCall;
  static constexpr int kThreads = 256, kSharedBytes = 16;

  template <typename Thread>
  static ENTRAIN_BLOCK void Run(const Thread& thread, const Call& call, const BlockPlace& place, unsigned char*) {
    const int first = place.tile;
    const std::int64_t token = call.sorted_tokens[first];
    if (first > 0 && call.sorted_tokens[first - 1] == token) return;
    for (int column = kPiece * thread.index(); column < call.width; column += kPiece * kThreads) {
      float sum[kPiece];
      Piece<float, kPiece>::Load(thread, call.d_table.Row(token) + column, sum);
      for (int at = first; at < call.rows && call.sorted_tokens[at] == token; ++at) {
        float x[kPiece];
        Piece<float, kPiece>::Load(thread, call.d_x.Row(call.order[at]) + column, x);
        ENTRAIN_UNROLL
        for (int i = 0; i < kPiece; ++i) sum[i] += x[i];
      }
      Piece<float, kPiece>::Store(thread, call.d_table.Row(token) + column, sum);
    }
  }
};

// A block a position.
template <int kPiece>
struct PositionGradients {
  using Call = EmbeddingGradientCall;
  static constexpr int kThreads = 256, kSharedBytes = 16;

  template <typename Thread>
  static ENTRAIN_BLOCK void Run(const Thread& thread, const Call& call, const BlockPlace& place, unsigned char*) {
    const int position = place.tile;
    for (int column = kPiece * thread.index(); column < call.width; column += kPiece * kThreads) {
      float sum[kPiece] = {};
      float* out = call.d_positions.Row(position) + column;
      if (call.accumulate) Piece<float, kPiece>::Load(thread, out, sum);
      for (int row = position; position < call.context && row < call.rows; row += call.context) {
        float x[kPiece];
        Piece<float, kPiece>::Load(thread, call.d_x.Row(row) + column, x);
        ENTRAIN_UNROLL
        for (int i = 0; i < kPiece; ++i) sum[i] += x[i];
      }
      Piece<float, kPiece>::Store(thread, out, sum);
    }
  }
};

}  // namespace entrain::kernels::cuda
