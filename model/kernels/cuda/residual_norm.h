// Residual sum and layer norm, forward and backward. A group of kWarpsPerRow warps takes a row; its lanes keep their columns in registers, so
// that a row is read and written once.
//
// Column sums (gradients of gain, shift and bias) are kept by each lane over the rows of its block, added over the block's groups in their
// order, and written as one row of `partial` a block; column_sums.h adds those in theirs. So the bits repeat.
#pragma once

#include <math.h>

#include "model/kernels/cuda/attention_call.h"
#include "model/kernels/cuda/row_access.h"

namespace entrain::kernels::cuda {

template <typename Arithmetic>
struct ResidualNormCall {
  int rows, width;
  RowsOf<const float> residual;
  RowsOf<const Arithmetic> delta;  // null: nothing
  const float* bias;               // null: none
  const float* gain;               // null: no norm
  const float* shift;
  float eps;
  RowsOf<float> sum;               // null without a delta
  RowsOf<Arithmetic> normed;
  float* mean;
  float* inverse_deviation;
};

template <typename Arithmetic>
struct ResidualNormGradientCall {
  int rows, width;
  RowsOf<const Arithmetic> d_normed;  // null: no norm
  RowsOf<const float> sum;
  const float* mean;
  const float* inverse_deviation;
  const float* gain;
  RowsOf<float> d_sum;  // in and out
  RowsOf<Arithmetic> d_delta;  // null: not wanted
  float* partial;  // [blocks][3][width]: gain, shift, bias; null: not wanted
};

// How a block of 256 threads shares rows: kPieces pieces of kPiece columns a lane.
template <int kWarpsPerRowValue, int kPieceValue, int kPiecesValue>
struct RowShare {
  static constexpr int kWarps = 8, kThreads = 256;
  static constexpr int kWarpsPerRow = kWarpsPerRowValue, kPiece = kPieceValue, kPieces = kPiecesValue;
  static constexpr int kGroups = kWarps / kWarpsPerRow, kLanes = 32 * kWarpsPerRow;
  static constexpr int kWidest = kLanes * kPiece * kPieces;
  static_assert(kWarpsPerRow == 1 || kWarpsPerRow == kWarps, "a barrier within a row is the block's");

  // The first column of a lane's piece.
  static ENTRAIN_BLOCK int Column(int thread, int piece) { return kPiece * (thread % kLanes + kLanes * piece); }

  template <typename Thread>
  static ENTRAIN_BLOCK float Sum(const Thread& thread, float x, float* scratch) {
    return BlockSum<kWarpsPerRow>(thread, x, scratch);
  }
};

template <typename ArithmeticType, typename Share>
struct ResidualNormRows {
  using Arithmetic = ArithmeticType;
  using Call = ResidualNormCall<Arithmetic>;
  static constexpr int kThreads = Share::kThreads, kPiece = Share::kPiece, kPieces = Share::kPieces;
  static constexpr int kRows = Share::kGroups;  // a block's
  static constexpr int kSharedBytes = 2 * Share::kWarps * static_cast<int>(sizeof(float));
  using Numbers = float[kPieces][kPiece];

  template <typename Thread>
  static ENTRAIN_BLOCK void Run(const Thread& thread, const Call& call, const BlockPlace& place, unsigned char* shared) {
    float* scratch = reinterpret_cast<float*>(shared);
    const int row = place.tile * kRows + thread.index() / Share::kLanes;
    // Whole warps leave; with several a row the block has one row.
    if (row >= call.rows) return;
    Numbers x;
    ReadSum(thread, call, row, &x);
    if (call.gain == nullptr) return;
    const float count = static_cast<float>(call.width);
    float total = 0.0f;
    ForEach(thread, call, [&](int piece, int) {
      ENTRAIN_UNROLL
      for (int i = 0; i < kPiece; ++i) total += x[piece][i];
    });
    const float mean = Share::Sum(thread, total, scratch) / count;
    float squares = 0.0f;
    ForEach(thread, call, [&](int piece, int) {
      ENTRAIN_UNROLL
      for (int i = 0; i < kPiece; ++i) squares = fmaf(x[piece][i] - mean, x[piece][i] - mean, squares);
    });
    const float variance = Share::Sum(thread, squares, scratch + Share::kWarps) / count;
    const float inverse = 1.0f / sqrtf(variance + call.eps);
    ForEach(thread, call, [&](int piece, int column) {
      float gain[kPiece], shift[kPiece];
      Piece<float, kPiece>::Load(thread, call.gain + column, gain);
      Piece<float, kPiece>::Load(thread, call.shift + column, shift);
      ENTRAIN_UNROLL
      for (int i = 0; i < kPiece; ++i) x[piece][i] = fmaf((x[piece][i] - mean) * inverse, gain[i], shift[i]);
      Piece<Arithmetic, kPiece>::Store(thread, call.normed.Row(row) + column, x[piece]);
    });
    if (thread.index() % Share::kLanes == 0) {
      call.mean[row] = mean;
      call.inverse_deviation[row] = inverse;
    }
  }

 private:
  template <typename Thread, typename Body>
  static ENTRAIN_BLOCK void ForEach(const Thread& thread, const Call& call, const Body& body) {
    ENTRAIN_UNROLL
    for (int piece = 0; piece < kPieces; ++piece) {
      const int column = Share::Column(thread.index(), piece);
      if (column < call.width) body(piece, column);
    }
  }

  template <typename Thread>
  static ENTRAIN_BLOCK void ReadSum(const Thread& thread, const Call& call, int row, Numbers* x) {
    ForEach(thread, call, [&](int piece, int column) {
      Piece<float, kPiece>::Load(thread, call.residual.Row(row) + column, (*x)[piece]);
      if (call.delta.data == nullptr) return;
      float delta[kPiece], bias[kPiece] = {};
      Piece<Arithmetic, kPiece>::Load(thread, call.delta.Row(row) + column, delta);
      if (call.bias != nullptr) Piece<float, kPiece>::Load(thread, call.bias + column, bias);
      ENTRAIN_UNROLL
      for (int i = 0; i < kPiece; ++i) (*x)[piece][i] += delta[i] + bias[i];
      Piece<float, kPiece>::Store(thread, call.sum.Row(row) + column, (*x)[piece]);
    });
  }
};

template <typename ArithmeticType, typename Share>
struct ResidualNormGradientRows {
  using Arithmetic = ArithmeticType;
  using Call = ResidualNormGradientCall<Arithmetic>;
  static constexpr int kThreads = Share::kThreads, kPiece = Share::kPiece, kPieces = Share::kPieces;
  static constexpr int kGroups = Share::kGroups;
  // One of the three sums at a time, a row a group; or the scratch of the rows' own sums.
  static constexpr int kSharedBytes = (kGroups * Share::kWidest > 4 * Share::kWarps ? kGroups * Share::kWidest : 4 * Share::kWarps) *
                                      static_cast<int>(sizeof(float));
  using Numbers = float[kPieces][kPiece];

  // Rows of this block: every `blocks`-th group of kGroups rows.
  template <typename Thread>
  static ENTRAIN_BLOCK void Run(const Thread& thread, const Call& call, const BlockPlace& place, int blocks,
                                unsigned char* shared) {
    float* scratch = reinterpret_cast<float*>(shared);
    const int group = thread.index() / Share::kLanes;
    Numbers d_gain = {}, d_shift = {}, d_bias = {};
    for (int row = place.tile * kGroups + group; row < call.rows; row += blocks * kGroups) {
      if (call.gain != nullptr) {
        NormedRow(thread, call, row, scratch, &d_gain, &d_shift, &d_bias);
      } else {
        PlainRow(thread, call, row, &d_bias);
      }
    }
    if (call.partial == nullptr) return;
    float* partial = call.partial + static_cast<std::int64_t>(place.tile) * 3 * call.width;
    thread.Sync();
    WriteSum(thread, call, group, scratch, d_gain, partial);
    WriteSum(thread, call, group, scratch, d_shift, partial + call.width);
    WriteSum(thread, call, group, scratch, d_bias, partial + 2 * call.width);
  }

 private:
  template <typename Thread, typename Body>
  static ENTRAIN_BLOCK void ForEach(const Thread& thread, const Call& call, const Body& body) {
    ENTRAIN_UNROLL
    for (int piece = 0; piece < kPieces; ++piece) {
      const int column = Share::Column(thread.index(), piece);
      if (column < call.width) body(piece, column);
    }
  }

  // d_sum += inverse (w - mean(w) - xhat mean(w xhat)) with w = d_normed gain, xhat = (sum - mean) inverse.
  template <typename Thread>
  static ENTRAIN_BLOCK void NormedRow(const Thread& thread, const Call& call, int row, float* scratch, Numbers* d_gain,
                                      Numbers* d_shift, Numbers* d_bias) {
    const float mean = call.mean[row], inverse = call.inverse_deviation[row];
    Numbers weighted, hat;
    float total = 0.0f, along = 0.0f;
    ForEach(thread, call, [&](int piece, int column) {
      float d_normed[kPiece], gain[kPiece];
      Piece<Arithmetic, kPiece>::Load(thread, call.d_normed.Row(row) + column, d_normed);
      Piece<float, kPiece>::Load(thread, call.sum.Row(row) + column, hat[piece]);
      Piece<float, kPiece>::Load(thread, call.gain + column, gain);
      ENTRAIN_UNROLL
      for (int i = 0; i < kPiece; ++i) {
        hat[piece][i] = (hat[piece][i] - mean) * inverse;
        weighted[piece][i] = d_normed[i] * gain[i];
        (*d_gain)[piece][i] = fmaf(d_normed[i], hat[piece][i], (*d_gain)[piece][i]);
        (*d_shift)[piece][i] += d_normed[i];
        total += weighted[piece][i];
        along = fmaf(weighted[piece][i], hat[piece][i], along);
      }
    });
    const float count = static_cast<float>(call.width);
    // Two places for each sum in turn: a slow warp may still read the last row's.
    if (Share::kWarpsPerRow > 1) thread.Sync();
    const float mean_total = Share::Sum(thread, total, scratch) / count;
    const float mean_along = Share::Sum(thread, along, scratch + Share::kWarps) / count;
    ForEach(thread, call, [&](int piece, int column) {
      float d_sum[kPiece];
      Piece<float, kPiece>::Load(thread, call.d_sum.Row(row) + column, d_sum);
      ENTRAIN_UNROLL
      for (int i = 0; i < kPiece; ++i) {
        d_sum[i] += inverse * (weighted[piece][i] - mean_total - hat[piece][i] * mean_along);
        (*d_bias)[piece][i] += d_sum[i];
      }
      Piece<float, kPiece>::Store(thread, call.d_sum.Row(row) + column, d_sum);
      if (call.d_delta.data != nullptr) Piece<Arithmetic, kPiece>::Store(thread, call.d_delta.Row(row) + column, d_sum);
    });
  }

  template <typename Thread>
  static ENTRAIN_BLOCK void PlainRow(const Thread& thread, const Call& call, int row, Numbers* d_bias) {
    ForEach(thread, call, [&](int piece, int column) {
      float d_sum[kPiece];
      Piece<float, kPiece>::Load(thread, call.d_sum.Row(row) + column, d_sum);
      ENTRAIN_UNROLL
      for (int i = 0; i < kPiece; ++i) (*d_bias)[piece][i] += d_sum[i];
      if (call.d_delta.data != nullptr) Piece<Arithmetic, kPiece>::Store(thread, call.d_delta.Row(row) + column, d_sum);
    });
  }

  template <typename Thread>
  static ENTRAIN_BLOCK void WriteSum(const Thread& thread, const Call& call, int group, float* scratch, const Numbers& sums,
                                     float* partial) {
    ForEach(thread, call, [&](int piece, int column) {
      ENTRAIN_UNROLL
      for (int i = 0; i < kPiece; ++i) scratch[group * Share::kWidest + column + i] = sums[piece][i];
    });
    thread.Sync();
    for (int column = thread.index(); column < call.width; column += kThreads) {
      float sum = 0.0f;
      for (int part = 0; part < kGroups; ++part) sum += scratch[part * Share::kWidest + column];
      partial[column] = sum;
    }
    thread.Sync();
  }
};

}  // namespace entrain::kernels::cuda
