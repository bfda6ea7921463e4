// Bias and activation function, forward and backward, and plain column sums. A block owns a strip of columns (32 lanes of kPiece) and every
// `row_blocks`-th group of eight rows; partial column sums are one row a block row, added by column_sums.h.
#pragma once

#include <math.h>

#include "model/kernels/cuda/attention_call.h"
#include "model/kernels/cuda/row_access.h"

namespace entrain::kernels::cuda {

enum class Activation { kIdentity, kRelu, kLeakyRelu, kGeluErf, kGeluTanh };

template <typename Element>
struct BiasActivationCall {
  int rows, columns;
  RowsOf<const Element> x;
  const float* bias;   // null: none
  const float* slope;  // of a leaky ReLU
  RowsOf<Element> y;
};

template <typename Element>
struct BiasActivationGradientCall {
  int rows, columns;
  RowsOf<const Element> x;  // null for kIdentity
  const float* bias;
  const float* slope;
  RowsOf<const Element> d_y;
  RowsOf<Element> d_x;   // null: only the sums are wanted
  float* partial;        // [row blocks][columns]; null: not wanted
  float* slope_partial;  // [row blocks * column blocks]; null: not wanted
};

constexpr float kRootHalf = 0.70710678118654752f, kRootTwoOverPi = 0.79788456080286536f, kInverseRootTwoPi = 0.39894228040143268f;
constexpr float kCubic = 0.044715f;

template <Activation kKind>
struct ActivationFunction {
  static ENTRAIN_BLOCK float Value(float x, float slope) {
    if constexpr (kKind == Activation::kRelu) return x > 0.0f || x != x ? x : 0.0f;
    if constexpr (kKind == Activation::kLeakyRelu) return x > 0.0f ? x : slope * x;
    if constexpr (kKind == Activation::kGeluErf) return 0.5f * x * (1.0f + erff(x * kRootHalf));
    if constexpr (kKind == Activation::kGeluTanh) return 0.5f * x * (1.0f + tanhf(kRootTwoOverPi * (x + kCubic * x * x * x)));
    return x;
  }
  static ENTRAIN_BLOCK float Derivative(float x, float slope) {
    if constexpr (kKind == Activation::kRelu) return x > 0.0f ? 1.0f : 0.0f;
    if constexpr (kKind == Activation::kLeakyRelu) return x > 0.0f ? 1.0f : slope;
    if constexpr (kKind == Activation::kGeluErf) {
      return 0.5f * (1.0f + erff(x * kRootHalf)) + x * kInverseRootTwoPi * expf(-0.5f * x * x);
    }
    if constexpr (kKind == Activation::kGeluTanh) {
      const float t = tanhf(kRootTwoOverPi * (x + kCubic * x * x * x));
      return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * kRootTwoOverPi * (1.0f + 3.0f * kCubic * x * x);
    }
    return 1.0f;
  }
};

// Strip place.tile of the columns, block row place.head of place.batch (of `row_blocks`).
template <typename ElementType, int kPieceValue>
struct ColumnStrip {
  using Element = ElementType;
  static constexpr int kPiece = kPieceValue, kWarps = 8, kThreads = 256, kColumns = 32 * kPiece;
  static constexpr int kSharedBytes = kWarps * kColumns * static_cast<int>(sizeof(float));
};

template <Activation kKind, typename ElementType, int kPieceValue>
struct BiasActivationRows : ColumnStrip<ElementType, kPieceValue> {
  using Strip = ColumnStrip<ElementType, kPieceValue>;
  using Element = ElementType;
  using Call = BiasActivationCall<Element>;
  using Access = Piece<Element, Strip::kPiece>;

  template <typename Thread>
  static ENTRAIN_BLOCK void Run(const Thread& thread, const Call& call, const BlockPlace& place, int row_blocks, unsigned char*) {
    const int column = place.tile * Strip::kColumns + Strip::kPiece * thread.lane();
    if (column >= call.columns) return;
    float bias[Strip::kPiece] = {};
    if (call.bias != nullptr) Piece<float, Strip::kPiece>::Load(thread, call.bias + column, bias);
    const float slope = call.slope != nullptr ? *call.slope : 0.0f;
    for (int row = place.head * Strip::kWarps + thread.warp(); row < call.rows; row += row_blocks * Strip::kWarps) {
      float x[Strip::kPiece];
      Access::Load(thread, call.x.Row(row) + column, x);
      ENTRAIN_UNROLL
      for (int i = 0; i < Strip::kPiece; ++i) x[i] = ActivationFunction<kKind>::Value(x[i] + bias[i], slope);
      Access::Store(thread, call.y.Row(row) + column, x);
    }
  }
};

template <Activation kKind, typename ElementType, int kPieceValue>
struct BiasActivationGradientRows : ColumnStrip<ElementType, kPieceValue> {
  using Strip = ColumnStrip<ElementType, kPieceValue>;
  using Element = ElementType;
  using Call = BiasActivationGradientCall<Element>;
  using Access = Piece<Element, Strip::kPiece>;

  template <typename Thread>
  static ENTRAIN_BLOCK void Run(const Thread& thread, const Call& call, const BlockPlace& place, int row_blocks,
                                unsigned char* shared) {
    const int column = place.tile * Strip::kColumns + Strip::kPiece * thread.lane();
    float sums[Strip::kPiece] = {}, slope_sum = 0.0f;
    if (column < call.columns) Walk(thread, call, column, place.head, row_blocks, &sums, &slope_sum);
    float* scratch = reinterpret_cast<float*>(shared);
    if (call.partial != nullptr) {
      Piece<float, Strip::kPiece>::Store(thread, scratch + thread.warp() * Strip::kColumns + Strip::kPiece * thread.lane(), sums);
      thread.Sync();
      for (int at = thread.index(); at < Strip::kColumns; at += Strip::kThreads) {
        float sum = 0.0f;
        for (int warp = 0; warp < Strip::kWarps; ++warp) sum += scratch[warp * Strip::kColumns + at];
        const int place_of = place.tile * Strip::kColumns + at;
        if (place_of < call.columns) call.partial[static_cast<std::int64_t>(place.head) * call.columns + place_of] = sum;
      }
      thread.Sync();
    }
    if (call.slope_partial != nullptr) {
      const float sum = BlockSum<Strip::kWarps>(thread, slope_sum, scratch);
      const int strips = TilesFor(call.columns, Strip::kColumns);
      if (thread.index() == 0) call.slope_partial[place.head * strips + place.tile] = sum;
    }
  }

 private:
  template <typename Thread>
  static ENTRAIN_BLOCK void Walk(const Thread& thread, const Call& call, int column, int row_block, int row_blocks,
                                 float (*sums)[Strip::kPiece], float* slope_sum) {
    float bias[Strip::kPiece] = {};
    if (call.bias != nullptr) Piece<float, Strip::kPiece>::Load(thread, call.bias + column, bias);
    const float slope = call.slope != nullptr ? *call.slope : 0.0f;
    for (int row = row_block * Strip::kWarps + thread.warp(); row < call.rows; row += row_blocks * Strip::kWarps) {
      float x[Strip::kPiece] = {}, gradient[Strip::kPiece];
      if (kKind != Activation::kIdentity) Access::Load(thread, call.x.Row(row) + column, x);
      Access::Load(thread, call.d_y.Row(row) + column, gradient);
      ENTRAIN_UNROLL
      for (int i = 0; i < Strip::kPiece; ++i) {
        const float at = x[i] + bias[i];
        if (kKind == Activation::kLeakyRelu && !(at > 0.0f)) *slope_sum = fmaf(gradient[i], at, *slope_sum);
        gradient[i] *= ActivationFunction<kKind>::Derivative(at, slope);
        (*sums)[i] += gradient[i];
      }
      if (call.d_x.data != nullptr) Access::Store(thread, call.d_x.Row(row) + column, gradient);
    }
  }
};

}  // namespace entrain::kernels::cuda
