// The two products of attention on tensor cores, for 16-bit numbers.
//
// A warp owns 16 rows of the result a row tile. Its accumulators are those of mma.m16n8k16: of the 8 columns of fragment j, lane l holds
//     acc[j][0..1]: row l / 4,     columns 2 (l % 4), 2 (l % 4) + 1
//     acc[j][2..3]: row l / 4 + 8, the same columns
// Two neighbouring fragments are, packed, the left operand of a further product: weights need not leave the registers.
#pragma once

#include "model/kernels/cuda/shared_tile.h"

namespace entrain::kernels::cuda {

template <typename ElementType>
struct TensorCoreMath {
  using Element = ElementType;
  // Rows of O and dO are rounded to 16 bits, and so is D = dO.O.
  static constexpr bool kExactMean = false;

  // acc += own other^T over kWidth columns: own's rows from own_row on (16 kTiles), other's rows 0..kOther.
  template <int kTiles, int kOther, int kWidth, typename Thread>
  static ENTRAIN_BLOCK void AddProductTransposed(const Thread& thread, const Element* own, int own_row, const Element* other,
                                                 float (&acc)[kTiles][kOther / 8][4]) {
    using Layout = TileLayout<Element, kWidth>;
    const int lane = thread.lane();
    ENTRAIN_UNROLL
    for (int k = 0; k < kWidth / 16; ++k) {
      std::uint32_t a[kTiles][4];
      ENTRAIN_UNROLL
      for (int i = 0; i < kTiles; ++i) {
        thread.LoadMatrix4(a[i], own + Layout::Offset(own_row + 16 * i + (lane & 15), 2 * k + (lane >> 4)));
      }
      ENTRAIN_UNROLL
      for (int j = 0; j < kOther / 16; ++j) {
        std::uint32_t b[4];
        thread.LoadMatrix4(b, other + Layout::Offset(16 * j + (lane & 7) + ((lane >> 4) << 3), 2 * k + ((lane >> 3) & 1)));
        ENTRAIN_UNROLL
        for (int i = 0; i < kTiles; ++i) {
          thread.template Mma<Element>(acc[i][2 * j], a[i], b[0], b[1]);
          thread.template Mma<Element>(acc[i][2 * j + 1], a[i], b[2], b[3]);
        }
      }
    }
  }

  // acc += weights other: weights are accumulators with kOther columns, other has kOther rows of kWidth.
  template <int kTiles, int kOther, int kWidth, typename Thread>
  static ENTRAIN_BLOCK void AddProduct(const Thread& thread, const float (&weights)[kTiles][kOther / 8][4],
                                       const Element* other, float (&acc)[kTiles][kWidth / 8][4]) {
    using Layout = TileLayout<Element, kWidth>;
    const int lane = thread.lane();
    ENTRAIN_UNROLL
    for (int k = 0; k < kOther / 16; ++k) {
      std::uint32_t a[kTiles][4];
      ENTRAIN_UNROLL
      for (int i = 0; i < kTiles; ++i) {
        a[i][0] = thread.template Pack<Element>(weights[i][2 * k][0], weights[i][2 * k][1]);
        a[i][1] = thread.template Pack<Element>(weights[i][2 * k][2], weights[i][2 * k][3]);
        a[i][2] = thread.template Pack<Element>(weights[i][2 * k + 1][0], weights[i][2 * k + 1][1]);
        a[i][3] = thread.template Pack<Element>(weights[i][2 * k + 1][2], weights[i][2 * k + 1][3]);
      }
      ENTRAIN_UNROLL
      for (int j = 0; j < kWidth / 16; ++j) {
        std::uint32_t b[4];
        thread.LoadMatrix4Transposed(b, other + Layout::Offset(16 * k + (lane & 15), 2 * j + (lane >> 4)));
        ENTRAIN_UNROLL
        for (int i = 0; i < kTiles; ++i) {
          thread.template Mma<Element>(acc[i][2 * j], a[i], b[0], b[1]);
          thread.template Mma<Element>(acc[i][2 * j + 1], a[i], b[2], b[3]);
        }
      }
    }
  }

  // acc += stored^T other[.., columns from first_column on]: stored has kRows rows of kColumns (one tile's weights with keys as rows); the
  // result's rows are stored's columns from first_row on, 16 of them, kPart columns wide.
  template <int kRows, int kColumns, int kWidth, int kPart, typename Thread>
  static ENTRAIN_BLOCK void AddProductOfStored(const Thread& thread, const Element* stored, int first_row, const Element* other,
                                               int first_column, float (&acc)[kPart / 8][4]) {
    using Stored = TileLayout<Element, kColumns>;
    using Layout = TileLayout<Element, kWidth>;
    const int lane = thread.lane();
    ENTRAIN_UNROLL
    for (int k = 0; k < kRows / 16; ++k) {
      std::uint32_t a[4];
      thread.LoadMatrix4Transposed(
          a, stored + Stored::Offset(16 * k + (lane & 7) + ((lane >> 4) << 3), first_row / 8 + ((lane >> 3) & 1)));
      ENTRAIN_UNROLL
      for (int j = 0; j < kPart / 16; ++j) {
        std::uint32_t b[4];
        thread.LoadMatrix4Transposed(b, other + Layout::Offset(16 * k + (lane & 15), first_column / 8 + 2 * j + (lane >> 4)));
        thread.template Mma<Element>(acc[2 * j], a, b[0], b[1]);
        thread.template Mma<Element>(acc[2 * j + 1], a, b[2], b[3]);
      }
    }
  }

  // Two neighbouring numbers of a row into a tile.
  template <typename Thread>
  static ENTRAIN_BLOCK void StorePair(const Thread& thread, Element* place, float first, float second) {
    *reinterpret_cast<std::uint32_t*>(place) = thread.template Pack<Element>(first, second);
  }
};

}  // namespace entrain::kernels::cuda
