// Sums over rows in a fixed order. Passes that read all rows write one row of partial sums a block; this adds those rows.
#pragma once

#include "model/kernels/cuda/attention_call.h"
#include "model/kernels/cuda/row_access.h"

namespace entrain::kernels::cuda {

struct ColumnSumsCall {
  const float* partial;  // `rows` rows, `stride` apart
  int rows, columns, stride;
  float* out;
  int accumulate;
};

// A block has 32 columns; its eight warps take every eighth row each.
struct ColumnSums {
  using Call = ColumnSumsCall;
  static constexpr int kWarps = 8, kThreads = 256, kColumns = 32;
  static constexpr int kSharedBytes = kThreads * static_cast<int>(sizeof(float));

  template <typename Thread>
  static ENTRAIN_BLOCK void Run(const Thread& thread, const Call& call, const BlockPlace& place, unsigned char* shared) {
    float* sums = reinterpret_cast<float*>(shared);
    const int column = place.tile * kColumns + thread.lane();
    float sum = 0.0f;
    if (column < call.columns) {
      for (int row = thread.warp(); row < call.rows; row += kWarps) sum += call.partial[static_cast<std::int64_t>(row) * call.stride + column];
    }
    sums[thread.index()] = sum;
    thread.Sync();
    if (thread.warp() != 0 || column >= call.columns) return;
    for (int warp = 1; warp < kWarps; ++warp) sum += sums[32 * warp + thread.lane()];
    call.out[column] = call.accumulate ? call.out[column] + sum : sum;
  }
};

}  // namespace entrain::kernels::cuda
