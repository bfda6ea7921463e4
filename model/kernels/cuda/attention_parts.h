// What the attention kernels share. Each owns a tile of rows of one side (queries, or keys for dK and dV), a warp 16 kTiles of them, and
// walks over tiles of the other side, which arrive through a ring of shared-memory stages.
#pragma once

#include "model/kernels/cuda/attention_call.h"
#include "model/kernels/cuda/shared_tile.h"

namespace entrain::kernels::cuda {

// kWidth head columns, kWarps warps with kTiles tiles of 16 rows each, kOther rows of the other side at a time, kStages of them in flight.
template <int kWidthValue, int kWarpsValue, int kTilesValue, int kOtherValue, int kStagesValue>
struct TileConfig {
  static constexpr int kWidth = kWidthValue;
  static constexpr int kWarps = kWarpsValue;
  static constexpr int kTiles = kTilesValue;
  static constexpr int kOther = kOtherValue;
  static constexpr int kStages = kStagesValue;
  static constexpr int kThreads = 32 * kWarps;
  static constexpr int kWarpRows = 16 * kTiles;
  static constexpr int kOwn = kWarpRows * kWarps;
  static_assert(kStages >= 2, "the next tile is loaded while one is used");
};

// Calls body(tile, stage) for tiles [begin, end) in order. load(tile, stage) starts a tile's copies; those that the caller has started and
// not committed belong to the first tile. A stage is loaded again only after every warp has left it. Shared memory that the stages
// occupy must not be in use.
template <int kStages, typename Thread, typename Load, typename Body>
ENTRAIN_BLOCK void ForEachTile(const Thread& thread, int begin, int end, const Load& load, const Body& body) {
  ENTRAIN_UNROLL
  for (int ahead = 0; ahead < kStages - 1; ++ahead) {
    if (begin + ahead < end) load(begin + ahead, ahead);
    thread.CommitCopies();
  }
  int stage = 0, load_stage = kStages - 1;
  ENTRAIN_NO_UNROLL
  for (int tile = begin; tile < end; ++tile) {
    thread.template WaitCopies<kStages - 2>();
    thread.Sync();
    if (tile + kStages - 1 < end) load(tile + kStages - 1, load_stage);
    thread.CommitCopies();
    body(tile, stage);
    stage = stage + 1 == kStages ? 0 : stage + 1;
    load_stage = load_stage + 1 == kStages ? 0 : load_stage + 1;
  }
}

// Sum and maximum over the four lanes that hold a row.
template <typename Thread>
ENTRAIN_BLOCK float RowSum(const Thread& thread, float x) {
  x += thread.ShuffleXor(x, 1);
  return x + thread.ShuffleXor(x, 2);
}
template <typename Thread>
ENTRAIN_BLOCK float RowMax(const Thread& thread, float x) {
  x = fmaxf(x, thread.ShuffleXor(x, 1));
  return fmaxf(x, thread.ShuffleXor(x, 2));
}

// Which scores take part, and which rows have one key only: their weight is 1 whatever the score, so no gradient reaches it.
struct Participation {
  int tokens;
  bool causal;

  ENTRAIN_BLOCK bool Scores(int query, int key) const { return key < tokens && (!causal || key <= query); }
  ENTRAIN_BLOCK bool HasOneKey(int query) const { return causal ? query == 0 : tokens == 1; }
};

// Writes a warp's accumulated rows, times `factor` of each, to global memory in 16-byte pieces, by way of its own rows of `tile`.
template <typename Math, int kTiles, int kWidth, typename Thread>
ENTRAIN_BLOCK void StoreRows(const Thread& thread, typename Math::Element* tile, int own_row,
                             const float (&acc)[kTiles][kWidth / 8][4], const float (&factor)[kTiles][2],
                             const HeadRows<typename Math::Element>& to, int first_row, const AttentionShape& shape) {
  using Layout = TileLayout<typename Math::Element, kWidth>;
  constexpr int kPiece = Layout::kChunkElements;
  const int row = thread.lane() >> 2, column = 2 * (thread.lane() & 3);
  thread.SyncWarp();
  ENTRAIN_UNROLL
  for (int i = 0; i < kTiles; ++i) {
    ENTRAIN_UNROLL
    for (int j = 0; j < kWidth / 8; ++j) {
      const int at = 8 * j + column, upper = own_row + 16 * i + row;
      Math::StorePair(thread, tile + Layout::Offset(upper, at / kPiece) + at % kPiece, acc[i][j][0] * factor[i][0],
                      acc[i][j][1] * factor[i][0]);
      Math::StorePair(thread, tile + Layout::Offset(upper + 8, at / kPiece) + at % kPiece, acc[i][j][2] * factor[i][1],
                      acc[i][j][3] * factor[i][1]);
    }
  }
  thread.SyncWarp();
  for (int place = thread.lane(); place < 16 * kTiles * Layout::kChunks; place += kWarpLanes) {
    const int tile_row = own_row + place / Layout::kChunks, chunk = place % Layout::kChunks;
    if (first_row + tile_row >= shape.tokens || chunk * kPiece >= shape.width) continue;
    *reinterpret_cast<Words4*>(to.data + (first_row + tile_row) * to.row_stride + chunk * kPiece) =
        *reinterpret_cast<const Words4*>(tile + Layout::Offset(tile_row, chunk));
  }
}

}  // namespace entrain::kernels::cuda
