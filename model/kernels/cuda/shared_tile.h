// Tiles in shared memory: rows of kWidth numbers whose 16-byte chunks are permuted within the row, so that the eight rows of an 8x8 matrix
// lie in different banks.
#pragma once

#include "model/kernels/cuda/block_program.h"

namespace entrain::kernels::cuda {

template <typename Element, int kWidth>
struct TileLayout {
  static constexpr int kChunkElements = 16 / static_cast<int>(sizeof(Element));
  static constexpr int kChunks = kWidth / kChunkElements;
  static_assert(kWidth % kChunkElements == 0 && kChunks % 4 == 0, "rows are whole groups of chunks");

  // 128 bytes hold all banks once. Rows of whole multiples of that permute eight chunks; of shorter or odd ones two rows share the
  // banks, and four chunks are permuted.
  static ENTRAIN_BLOCK int Offset(int row, int chunk) {
    const int key = kChunks % 8 == 0 ? (row & 7) : ((row >> 1) & 3);
    return row * kWidth + (chunk ^ key) * kChunkElements;
  }
};

// One head's rows in global memory.
template <typename Element>
struct HeadRows {
  Element* data;
  std::int64_t row_stride;  // in elements
};

// Starts copying rows [first_row, first_row + kRows); rows from `rows` on and columns from `width` on become zeros. Columns are a multiple
// of a chunk.
template <int kRows, int kWidth, int kThreads, typename Element, typename Thread>
ENTRAIN_BLOCK void CopyTile(const Thread& thread, Element* tile, const HeadRows<const Element>& source, int first_row, int rows,
                            int width) {
  using Layout = TileLayout<Element, kWidth>;
  ENTRAIN_UNROLL
  for (int place = thread.index(); place < kRows * Layout::kChunks; place += kThreads) {
    const int row = place / Layout::kChunks, chunk = place % Layout::kChunks;
    const bool inside = first_row + row < rows && chunk * Layout::kChunkElements < width;
    const std::int64_t from = inside ? (first_row + row) * source.row_stride + chunk * Layout::kChunkElements : 0;
    thread.CopyAsync16(tile + Layout::Offset(row, chunk), source.data + from, inside);
  }
}

}  // namespace entrain::kernels::cuda
