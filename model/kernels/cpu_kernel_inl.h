// The attention kernel for vectors of kLanes floats. Included by one source file per instruction set, after kLanes and kTileRows are
// defined there; everything is local to that file (cpu_kernel.h says why).
//
// A block of query rows meets one tile of keys after the other; scores, weights and their gradients of a block and a tile lie in scratch
// that the nearest caches hold. Forward keeps for every row the maximum m of its scores so far, l = sum exp(s - m) and
// A = sum exp(s - m) (s - m); when the maximum moves to m', A <- exp(m - m') (A + (m - m') l). Without entropy (kEntropy false) A is not
// compiled.
#pragma once

#include <cmath>
#include <cstdint>

#include "model/kernels/cpu_kernel.h"
#include "model/kernels/cpu_product_inl.h"
#include "model/kernels/cpu_vector_inl.h"

namespace entrain::kernels {
namespace {

constexpr std::int64_t kQueryBlock = 96;             // multiple of kTileRows
constexpr std::int64_t kKeyTile = 192;               // multiple of kTileRows and kPanel
constexpr std::int64_t kScoreStride = kKeyTile + 16;  // not a power of two: columns are read too
static_assert(kQueryBlock % kTileRows == 0 && kKeyTile % kTileRows == 0 && kKeyTile % kPanel == 0);
static_assert(kScoreStride - kKeyTile >= kLanes);

// Hands out scratch in units of 64 bytes.
struct Arena {
  float* Take(std::int64_t count) {
    float* taken = next;
    next += RoundUp(count, 16);
    return taken;
  }
  float* next;
};

// One head's sizes.
struct Shape {
  explicit Shape(const HeadInputs& inputs)
      : tokens(inputs.tokens), width(inputs.width), padded(RoundUp(width, kLanes)), causal(inputs.causal) {}
  // Keys that query i looks at.
  std::int64_t Keys(std::int64_t i) const { return causal ? i + 1 : tokens; }
  // Rows of x as panels, and a row-major copy.
  float* Panels(const HeadInputs& inputs, ConstRows x, std::int64_t count, Arena* arena) const {
    float* out = arena->Take(width * RoundUp(count, kPanel));
    Typed(inputs.storage, x, 0, [&](const auto* data) { PanelsOf(data, x.stride, count, width, out); });
    return out;
  }
  void Copy(const HeadInputs& inputs, ConstRows x, std::int64_t first, std::int64_t count, float factor, float* out) const {
    Typed(inputs.storage, x, first, [&](const auto* data) { CopyOf(data, x.stride, count, width, padded, factor, out); });
  }
  // The product of `rows` left rows and the panels from key `key` on.
  RightFactor PanelsFrom(const float* panels, std::int64_t key) const { return {panels + key * width, width * kPanel, kPanel}; }
  // Row-major numbers as a right factor.
  RightFactor RowsFrom(const float* x, std::int64_t row) const { return {x + row * padded, kPanel, padded}; }

  std::int64_t tokens, width, padded;
  bool causal;
};

// What a block of queries keeps while it passes over the keys.
struct BlockState {
  Vector sum[kQueryBlock];
  Vector shifted_sum[kQueryBlock];
  float max[kQueryBlock];
  Vector lowest;  // of every score so far
  float highest;
};

// Before the weights of a new tile are added: moves the row to the new maximum.
template <bool kEntropy>
void MoveMaximum(BlockState* state, std::int64_t row, float max, float* out, std::int64_t padded) {
  const Vector step = Above(Spread(state->max[row] - max), kVanished);
  const Vector shrink = Exp(step);
  if constexpr (kEntropy) state->shifted_sum[row] = shrink * (state->shifted_sum[row] + step * state->sum[row]);
  state->sum[row] *= shrink;
  state->max[row] = max;
  for (std::int64_t c = 0; c < padded; c += kLanes) Store(out + c, shrink * Load(out + c));
}

// Scores of one row and one tile -> exp(s - max), zero from `keys` to `filled` columns.
template <bool kEntropy>
ENTRAIN_INLINE void ForwardRow(float* row, std::int64_t keys, std::int64_t filled, bool first, BlockState* state, std::int64_t index,
                               float* out, std::int64_t padded) {
  const std::int64_t whole = keys / kLanes * kLanes;
  const Integers inside = Before(keys - whole);
  Vector max = Spread(-__builtin_inff()), lowest = state->lowest;
  for (std::int64_t j = 0; j < whole; j += kLanes) {
    const Vector s = Load(row + j);
    max = Larger(max, s);
    lowest = Smaller(lowest, s);
  }
  if (whole < keys) {
    const Vector s = Load(row + whole);
    max = Larger(max, inside ? s : max);
    lowest = Smaller(lowest, inside ? s : lowest);
  }
  state->lowest = lowest;
  const float tile_max = Largest(max);
  if (first) {
    state->max[index] = tile_max;
  } else if (tile_max > state->max[index]) {
    MoveMaximum<kEntropy>(state, index, tile_max, out, padded);
  }
  const Vector origin = Spread(state->max[index]);
  Vector sum = first ? Vector{} : state->sum[index], shifted_sum = first ? Vector{} : state->shifted_sum[index];
  for (std::int64_t j = 0; j < whole; j += kLanes) {
    const Vector shifted = Above(Load(row + j) - origin, kVanished);
    const Vector e = Exp(shifted);
    sum += e;
    if constexpr (kEntropy) shifted_sum += e * shifted;
    Store(row + j, e);
  }
  if (whole < keys) {
    const Vector shifted = Above(inside ? Load(row + whole) - origin : Spread(kVanished), kVanished);
    const Vector e = Exp(shifted);
    sum += e;
    if constexpr (kEntropy) shifted_sum += e * shifted;
    Store(row + whole, e);
  }
  for (std::int64_t j = RoundUp(keys, kLanes); j < filled; j += kLanes) Store(row + j, Vector{});
  state->sum[index] = sum;
  if constexpr (kEntropy) state->shifted_sum[index] = shifted_sum;
}

// The numbers of a block's rows once they have seen all their keys.
template <bool kEntropy>
void FinishForward(const Shape& shape, const HeadInputs& inputs, const HeadOutputs& outputs, QueryRange block, BlockState* state,
                   const float* out, float* max_abs) {
  for (std::int64_t i = block.begin; i < block.end; ++i) {
    const std::int64_t r = i - block.begin;
    const float sum = Sum(state->sum[r]), log_sum = std::log(sum);
    outputs.row_max[i] = state->max[r];
    outputs.log_sum[i] = log_sum;
    if constexpr (kEntropy) {
      const float entropy = log_sum - Sum(state->shifted_sum[r]) / sum;
      outputs.entropy[i] = entropy < 0.0f ? 0.0f : entropy;
    }
    if (state->max[r] > *max_abs) *max_abs = state->max[r];
    // Comparisons lose a NaN; the sum of the row has kept it.
    if (sum != sum) *max_abs = sum;
    Typed(inputs.storage, outputs.out, i, [&](auto* row) { StoreRow(out + r * shape.padded, shape.width, 1.0f / sum, row); });
  }
}

// Queries of a block that look at keys from `key` on start here, in whole register tiles.
ENTRAIN_INLINE std::int64_t FirstGroup(const Shape& shape, QueryRange block, std::int64_t key) {
  return shape.causal && key > block.begin ? (key - block.begin) / kTileRows * kTileRows + block.begin : block.begin;
}

template <bool kEntropy>
void ForwardRange(const HeadInputs& inputs, QueryRange queries, const HeadOutputs& outputs, float* scratch) {
  const Shape shape(inputs);
  Arena arena{scratch};
  const std::int64_t all_keys = shape.Keys(queries.end - 1);
  const float* k_panels = shape.Panels(inputs, inputs.k, all_keys, &arena);
  float* v = arena.Take(all_keys * shape.padded);
  shape.Copy(inputs, inputs.v, 0, all_keys, 1.0f, v);
  float* q = arena.Take(kQueryBlock * shape.padded);
  float* out = arena.Take(kQueryBlock * shape.padded);
  float* scores = arena.Take(kTileRows * kScoreStride);
  BlockState state;
  state.lowest = Vector{};
  float max_abs = 0.0f;
  for (QueryRange block{queries.begin, 0}; block.begin < queries.end; block.begin = block.end) {
    block.end = Least(block.begin + kQueryBlock, queries.end);
    shape.Copy(inputs, inputs.q, block.begin, block.end - block.begin, inputs.scale, q);
    const std::int64_t block_keys = shape.Keys(block.end - 1);
    for (std::int64_t tile = 0; tile < block_keys; tile += kKeyTile) {
      for (std::int64_t i = FirstGroup(shape, block, tile); i < block.end; i += kTileRows) {
        const std::int64_t rows = Least(kTileRows, block.end - i), r = i - block.begin;
        const std::int64_t keys = Least(shape.Keys(i + rows - 1) - tile, kKeyTile), filled = RoundUp(keys, kLanes);
        Product<false>(rows, {q + r * shape.padded, shape.padded, 1}, shape.PanelsFrom(k_panels, tile), scores, kScoreStride,
                       shape.width, filled);
        float* out_rows = out + r * shape.padded;
        for (std::int64_t n = 0; n < rows; ++n) {
          ForwardRow<kEntropy>(scores + n * kScoreStride, Least(Most(shape.Keys(i + n) - tile, 0), kKeyTile), filled, tile == 0, &state,
                               r + n, out_rows + n * shape.padded, shape.padded);
        }
        const LeftFactor weights{scores, kScoreStride, 1};
        if (tile == 0) {
          Product<false>(rows, weights, shape.RowsFrom(v, tile), out_rows, shape.padded, keys, shape.padded);
        } else {
          Product<true>(rows, weights, shape.RowsFrom(v, tile), out_rows, shape.padded, keys, shape.padded);
        }
      }
    }
    FinishForward<kEntropy>(shape, inputs, outputs, block, &state, out, &max_abs);
  }
  const float lowest = -Largest(-state.lowest);
  if (-lowest > max_abs) max_abs = -lowest;
  *outputs.max_abs_score = max_abs;
}

void Forward(const HeadInputs& inputs, QueryRange queries, const HeadOutputs& outputs, float* scratch) {
  if (outputs.entropy != nullptr) return ForwardRange<true>(inputs, queries, outputs, scratch);
  ForwardRange<false>(inputs, queries, outputs, scratch);
}

// One row of a block in the backward pass.
struct BackwardRowState {
  float max, log_sum, d_entropy, mean;
};

// Scores and dP of one row and one tile -> weights p and dS, zero from `keys` to `filled` columns.
template <bool kEntropy>
ENTRAIN_INLINE void BackwardRow(float* scores, float* d_weights, std::int64_t keys, std::int64_t filled, const BackwardRowState& row) {
  const std::int64_t whole = keys / kLanes * kLanes;
  const Integers inside = Before(keys - whole);
  const Vector max = Spread(row.max), log_sum = Spread(row.log_sum), mean = Spread(row.mean), g = Spread(row.d_entropy);
  const auto differentiate = [&](std::int64_t j, Vector shifted) {
    const Vector log_p = Above(shifted, kVanished);
    const Vector p = Exp(log_p);
    Vector d = Load(d_weights + j) - mean;
    if constexpr (kEntropy) d -= g * log_p;
    Store(scores + j, p);
    return p * d;
  };
  for (std::int64_t j = 0; j < whole; j += kLanes) Store(d_weights + j, differentiate(j, Load(scores + j) - max - log_sum));
  if (whole < keys) {
    const Vector d = differentiate(whole, inside ? Load(scores + whole) - max - log_sum : Spread(kVanished));
    Store(d_weights + whole, inside ? d : Vector{});
  }
  for (std::int64_t j = RoundUp(keys, kLanes); j < filled; j += kLanes) {
    Store(scores + j, Vector{});
    Store(d_weights + j, Vector{});
  }
}

// D = dO O of every row of the block. Summed in the order in which Product sums dP, with the same fused operation: in a row with one
// weight of 1, whose output is that key's v, the two cancel exactly. Rows go together since each sum waits for itself.
void OutputProducts(const Shape& shape, std::int64_t count, const float* d_out, const float* out, float* products) {
  for (std::int64_t first = 0; first < count; first += kTileRows) {
    float sums[kTileRows] = {};
    for (std::int64_t c = 0; c < shape.width; ++c) {
#pragma GCC unroll 16
      for (int r = 0; r < kTileRows; ++r) {
        const std::int64_t at = (first + r) * shape.padded + c;
        sums[r] = __builtin_fmaf(d_out[at], out[at], sums[r]);
      }
    }
    for (int r = 0; r < kTileRows; ++r) products[first + r] = sums[r];
  }
}

// What the rows of a block subtract: their statistics and D + g H.
template <bool kEntropy>
void RowMeans(const Shape& shape, const HeadGradients& gradients, QueryRange block, const float* d_out, const float* out,
              BackwardRowState* rows) {
  float products[kQueryBlock] = {};
  if (d_out != nullptr) OutputProducts(shape, block.end - block.begin, d_out, out, products);
  for (std::int64_t i = block.begin; i < block.end; ++i) {
    BackwardRowState& row = rows[i - block.begin];
    row = {gradients.row_max[i], gradients.log_sum[i], 0.0f, products[i - block.begin]};
    if constexpr (kEntropy) {
      row.d_entropy = gradients.d_entropy[i];
      row.mean += gradients.d_entropy[i] * gradients.entropy[i];
    }
  }
}

// Everything that the loops of the backward pass share.
struct BackwardWork {
  BackwardWork(const Shape& shape, const HeadInputs& inputs, const HeadGradients& gradients, std::int64_t all_keys, float* scratch)
      : arena{scratch}, k_panels(shape.Panels(inputs, inputs.k, all_keys, &arena)),
        v_panels(gradients.d_out.data != nullptr ? shape.Panels(inputs, inputs.v, all_keys, &arena) : nullptr),
        k(arena.Take(all_keys * shape.padded)), q(arena.Take(kQueryBlock * shape.padded)),
        d_out(v_panels != nullptr ? arena.Take(kQueryBlock * shape.padded) : nullptr), out(arena.Take(kQueryBlock * shape.padded)),
        dq(arena.Take(kQueryBlock * shape.padded)), weights(arena.Take(kQueryBlock * kScoreStride)),
        d_scores(arena.Take(kQueryBlock * kScoreStride)) {
    shape.Copy(inputs, inputs.k, 0, all_keys, 1.0f, k);
  }
  Arena arena;
  const float *k_panels, *v_panels;
  float *k, *q, *d_out, *out, *dq, *weights, *d_scores;
  BackwardRowState rows[kQueryBlock];
};

// Weights, dS and dQ of the block's queries against one tile of keys.
template <bool kEntropy>
void QueriesAgainstTile(const Shape& shape, QueryRange block, std::int64_t tile, BackwardWork* work) {
  for (std::int64_t i = FirstGroup(shape, block, tile); i < block.end; i += kTileRows) {
    const std::int64_t rows = Least(kTileRows, block.end - i), r = i - block.begin;
    const std::int64_t keys = Least(shape.Keys(i + rows - 1) - tile, kKeyTile), columns = RoundUp(keys, kLanes);
    float *weights = work->weights + r * kScoreStride, *d_scores = work->d_scores + r * kScoreStride;
    Product<false>(rows, {work->q + r * shape.padded, shape.padded, 1}, shape.PanelsFrom(work->k_panels, tile), weights, kScoreStride,
                   shape.width, columns);
    if (work->d_out != nullptr) {
      Product<false>(rows, {work->d_out + r * shape.padded, shape.padded, 1}, shape.PanelsFrom(work->v_panels, tile), d_scores,
                     kScoreStride, shape.width, columns);
    } else {
      for (std::int64_t n = 0; n < rows * kScoreStride; ++n) d_scores[n] = 0.0f;
    }
    // dK and dV read whole register tiles of keys, which may end behind the last key of these rows.
    const std::int64_t filled = Least(RoundUp(keys + kTileRows, kLanes), kKeyTile);
    for (std::int64_t n = 0; n < rows; ++n) {
      BackwardRow<kEntropy>(weights + n * kScoreStride, d_scores + n * kScoreStride,
                            Least(Most(shape.Keys(i + n) - tile, 0), kKeyTile), filled, work->rows[r + n]);
    }
    Product<true>(rows, {d_scores, kScoreStride, 1}, shape.RowsFrom(work->k, tile), work->dq + r * shape.padded, shape.padded, keys,
                  shape.padded);
  }
}

// part[keys of the tile] (+)= block^T right.
template <bool kAdd>
void AddToKeys(const Shape& shape, QueryRange block, std::int64_t tile, std::int64_t keys, const float* scores, const float* right,
               float* part) {
  for (std::int64_t j = 0; j < keys; j += kTileRows) {
    const std::int64_t first = FirstGroup(shape, block, tile + j) - block.begin;
    Product<kAdd>(Least(kTileRows, keys - j), {scores + first * kScoreStride + j, 1, kScoreStride}, shape.RowsFrom(right, first),
                  part + (tile + j) * shape.padded, shape.padded, block.end - block.begin - first, shape.padded);
  }
}

template <bool kEntropy>
void BackwardRange(const HeadInputs& inputs, QueryRange queries, const HeadGradients& gradients, float* scratch) {
  const Shape shape(inputs);
  const std::int64_t all_keys = shape.Keys(queries.end - 1), count_floats = all_keys * shape.padded;
  BackwardWork work(shape, inputs, gradients, all_keys, scratch);
  for (std::int64_t n = 0; n < count_floats; n += kLanes) Store(gradients.dk_part + n, Vector{});
  for (std::int64_t n = 0; n < count_floats; n += kLanes) Store(gradients.dv_part + n, Vector{});
  for (QueryRange block{queries.begin, 0}; block.begin < queries.end; block.begin = block.end) {
    block.end = Least(block.begin + kQueryBlock, queries.end);
    const std::int64_t count = block.end - block.begin;
    shape.Copy(inputs, inputs.q, block.begin, count, inputs.scale, work.q);
    if (work.d_out != nullptr) {
      shape.Copy(inputs, gradients.d_out, block.begin, count, 1.0f, work.d_out);
      shape.Copy(inputs, gradients.out, block.begin, count, 1.0f, work.out);
    }
    RowMeans<kEntropy>(shape, gradients, block, work.d_out, work.out, work.rows);
    for (std::int64_t n = 0; n < count * shape.padded; n += kLanes) Store(work.dq + n, Vector{});
    const std::int64_t block_keys = shape.Keys(block.end - 1);
    for (std::int64_t tile = 0; tile < block_keys; tile += kKeyTile) {
      const std::int64_t keys = Least(block_keys - tile, kKeyTile);
      QueriesAgainstTile<kEntropy>(shape, block, tile, &work);
      AddToKeys<true>(shape, block, tile, keys, work.d_scores, work.q, gradients.dk_part);
      if (work.d_out != nullptr) AddToKeys<true>(shape, block, tile, keys, work.weights, work.d_out, gradients.dv_part);
    }
    for (std::int64_t i = block.begin; i < block.end; ++i) {
      const float* row = work.dq + (i - block.begin) * shape.padded;
      Typed(inputs.storage, gradients.dq, i, [&](auto* out) { StoreRow(row, shape.width, inputs.scale, out); });
    }
  }
}

void Backward(const HeadInputs& inputs, QueryRange queries, const HeadGradients& gradients, float* scratch) {
  if (gradients.d_entropy != nullptr) return BackwardRange<true>(inputs, queries, gradients, scratch);
  BackwardRange<false>(inputs, queries, gradients, scratch);
}

void AddParts(const float* part, std::int64_t part_floats, const std::int64_t* part_keys, std::int64_t parts,
              const HeadInputs& inputs, Rows rows) {
  const Shape shape(inputs);
  alignas(64) float sum[kLanes * 64];
  for (std::int64_t t = 0; t < inputs.tokens; ++t) {
    const float* first = part + t * shape.padded;
    const float* row = first;
    if (parts > 1) {
      for (std::int64_t c = 0; c < shape.padded; c += kLanes) {
        Vector total{};
        for (std::int64_t n = 0; n < parts; ++n) {
          if (t < part_keys[n]) total += Load(first + n * part_floats + c);
        }
        Store(sum + c, total);
      }
      row = sum;
    }
    Typed(inputs.storage, rows, t, [&](auto* out) { StoreRow(row, shape.width, 1.0f, out); });
  }
}

std::int64_t PaddedWidth(std::int64_t width) { return RoundUp(width, kLanes); }

// The most that Backward takes: two sets of panels, a copy, four blocks of rows, two of scores, each rounded up.
std::int64_t ScratchFloats(std::int64_t tokens, std::int64_t width) {
  const std::int64_t padded = PaddedWidth(width);
  return 2 * width * RoundUp(tokens, kPanel) + tokens * padded + 4 * kQueryBlock * padded + 2 * kQueryBlock * kScoreStride + 160;
}

constexpr CpuKernel kKernel{PaddedWidth, ScratchFloats, Forward, Backward, AddParts};

}  // namespace
}  // namespace entrain::kernels
