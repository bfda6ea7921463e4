// Tile sizes of the attention kernels by head width and architecture. docs/cuda.md lists the registers and shared memory that they take;
// none spills.
#pragma once

#include "model/kernels/cuda/attention_parts.h"

namespace entrain::kernels::cuda {

// The architectures that the kernels are tuned for: 80 serves all from sm_80 on, 90 serves sm_90a.
// TileConfig<width, warps, row tiles a warp, rows of the other side, stages>.
template <int kArch, int kWidth>
struct AttentionTiles;

template <>
struct AttentionTiles<80, 32> {
  using Forward = TileConfig<32, 4, 2, 64, 2>;
  using Queries = TileConfig<32, 4, 1, 64, 2>;
  using Keys = TileConfig<32, 4, 1, 64, 2>;
};
template <>
struct AttentionTiles<80, 64> {
  using Forward = TileConfig<64, 4, 2, 64, 2>;
  using Queries = TileConfig<64, 4, 1, 64, 2>;
  using Keys = TileConfig<64, 4, 1, 64, 2>;
};
template <>
struct AttentionTiles<80, 96> {
  using Forward = TileConfig<96, 4, 1, 64, 2>;
  using Queries = TileConfig<96, 4, 1, 64, 2>;
  using Keys = TileConfig<96, 4, 1, 32, 2>;
};
template <>
struct AttentionTiles<80, 128> {
  using Forward = TileConfig<128, 4, 1, 64, 2>;
  using Queries = TileConfig<128, 4, 1, 64, 2>;
  using Keys = TileConfig<128, 4, 1, 32, 2>;
};

template <>
struct AttentionTiles<90, 32> {
  using Forward = TileConfig<32, 4, 2, 64, 3>;
  using Queries = TileConfig<32, 4, 1, 64, 3>;
  using Keys = TileConfig<32, 4, 1, 64, 3>;
};
template <>
struct AttentionTiles<90, 64> {
  using Forward = TileConfig<64, 4, 2, 64, 3>;
  using Queries = TileConfig<64, 4, 1, 64, 3>;
  using Keys = TileConfig<64, 4, 1, 64, 3>;
};
template <>
struct AttentionTiles<90, 96> {
  using Forward = TileConfig<96, 8, 1, 64, 3>;
  using Queries = TileConfig<96, 4, 1, 64, 3>;
  using Keys = TileConfig<96, 4, 1, 32, 3>;
};
template <>
struct AttentionTiles<90, 128> {
  using Forward = TileConfig<128, 8, 1, 64, 3>;
  using Queries = TileConfig<128, 4, 1, 64, 3>;
  using Keys = TileConfig<128, 4, 1, 32, 3>;
};

// float32 on every architecture.
template <int kWidth>
struct FloatTiles {
  static constexpr int kOther = kWidth <= 64 ? 32 : 16;
  using Forward = TileConfig<kWidth, 4, 1, kOther, 2>;
  using Queries = TileConfig<kWidth, 4, 1, kOther, 2>;
  using Keys = TileConfig<kWidth, 4, 1, kOther, 2>;
};

}  // namespace entrain::kernels::cuda
