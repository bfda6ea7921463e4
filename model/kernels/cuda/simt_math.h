// The two products of attention in float32 on the ordinary units, every product and sum rounded to float32 (tensor cores would round the
// factors to 10 bits). Rows and accumulators lie as in tensor_core_math.h, so that everything around the products is shared.
#pragma once

#include <math.h>

#include "model/kernels/cuda/shared_tile.h"

namespace entrain::kernels::cuda {

struct SimtMath {
  using Element = float;
  // D is summed from the same dP that it is subtracted from: exact where one weight is 1.
  static constexpr bool kExactMean = true;

  template <int kTiles, int kOther, int kWidth, typename Thread>
  static ENTRAIN_BLOCK void AddProductTransposed(const Thread& thread, const float* own, int own_row, const float* other,
                                                 float (&acc)[kTiles][kOther / 8][4]) {
    using Layout = TileLayout<float, kWidth>;
    const int row = thread.lane() >> 2, column = 2 * (thread.lane() & 3);
    ENTRAIN_NO_UNROLL
    for (int chunk = 0; chunk < Layout::kChunks; ++chunk) {
      Float4 a[kTiles][2];
      ENTRAIN_UNROLL
      for (int i = 0; i < kTiles; ++i) {
        a[i][0] = Load(own + Layout::Offset(own_row + 16 * i + row, chunk));
        a[i][1] = Load(own + Layout::Offset(own_row + 16 * i + row + 8, chunk));
      }
      ENTRAIN_UNROLL
      for (int j = 0; j < kOther / 8; ++j) {
        const Float4 b0 = Load(other + Layout::Offset(8 * j + column, chunk));
        const Float4 b1 = Load(other + Layout::Offset(8 * j + column + 1, chunk));
        ENTRAIN_UNROLL
        for (int i = 0; i < kTiles; ++i) {
          acc[i][j][0] = AddDot(acc[i][j][0], a[i][0], b0);
          acc[i][j][1] = AddDot(acc[i][j][1], a[i][0], b1);
          acc[i][j][2] = AddDot(acc[i][j][2], a[i][1], b0);
          acc[i][j][3] = AddDot(acc[i][j][3], a[i][1], b1);
        }
      }
    }
  }

  template <int kTiles, int kOther, int kWidth, typename Thread>
  static ENTRAIN_BLOCK void AddProduct(const Thread& thread, const float (&weights)[kTiles][kOther / 8][4], const float* other,
                                       float (&acc)[kTiles][kWidth / 8][4]) {
    using Layout = TileLayout<float, kWidth>;
    // Columns 8 j + 2 (lane % 4) lie in chunk 2 j + (lane % 4) / 2, which row k has at that chunk ^ (k % 8) (TileLayout): in an even row half
    // of the lanes read the neighbour's place of an odd one, and all else is known to the compiler.
    static_assert(Layout::kChunks % 8 == 0, "rows of float32 permute eight chunks");
    const int lane = thread.lane(), odd_chunk = (lane & 3) >> 1, within = 2 * (lane & 1);
    const float* const even_rows = other + 4 * odd_chunk + within;
    const float* const odd_rows = other + 4 * (odd_chunk ^ 1) + within;
    ENTRAIN_UNROLL
    for (int k = 0; k < kOther; ++k) {
      const float* const row = (k % 2 == 0 ? even_rows : odd_rows) + k * kWidth;
      // The four lanes of a row hold two columns each.
      const int holder = (lane & ~3) | ((k % 8) / 2);
      float upper[kTiles], lower[kTiles];
      ENTRAIN_UNROLL
      for (int i = 0; i < kTiles; ++i) {
        upper[i] = thread.Shuffle(weights[i][k / 8][k % 2], holder);
        lower[i] = thread.Shuffle(weights[i][k / 8][2 + k % 2], holder);
      }
      ENTRAIN_UNROLL
      for (int j = 0; j < kWidth / 8; ++j) {
        const Float2 b = *reinterpret_cast<const Float2*>(row + 4 * ((2 * j) ^ (k & 6)));
        ENTRAIN_UNROLL
        for (int i = 0; i < kTiles; ++i) {
          acc[i][j][0] = Fma(upper[i], b.x, acc[i][j][0]);
          acc[i][j][1] = Fma(upper[i], b.y, acc[i][j][1]);
          acc[i][j][2] = Fma(lower[i], b.x, acc[i][j][2]);
          acc[i][j][3] = Fma(lower[i], b.y, acc[i][j][3]);
        }
      }
    }
  }

  template <typename Thread>
  static ENTRAIN_BLOCK void StorePair(const Thread& /*thread*/, float* place, float first, float second) {
    *reinterpret_cast<Float2*>(place) = Float2{first, second};
  }

 private:
  static ENTRAIN_BLOCK Float4 Load(const float* chunk) { return *reinterpret_cast<const Float4*>(chunk); }
  static ENTRAIN_BLOCK float Fma(float a, float b, float c) { return fmaf(a, b, c); }
  static ENTRAIN_BLOCK float AddDot(float sum, const Float4& a, const Float4& b) {
    return Fma(a.w, b.w, Fma(a.z, b.z, Fma(a.y, b.y, Fma(a.x, b.x, sum))));
  }
};

}  // namespace entrain::kernels::cuda
