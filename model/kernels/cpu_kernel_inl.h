// The attention kernel for vectors of kLanes floats. Included by one source file per instruction set, after kLanes is defined there;
// everything is local to that file (cpu_kernel.h says why).
//
// A block of query rows is taken at a time. Its scores against all keys lie in scratch, so that softmax, entropy and the means of the
// backward pass see whole rows, and memory stays linear in the number of tokens. Every product is rows of A times a row-major B, with
// columns in vector registers: scores and dP take K^T and V^T, transposed once per head.
#pragma once

#include <cmath>
#include <cstdint>

#include "model/kernels/cpu_kernel.h"

namespace entrain::kernels {
namespace {

typedef float Vector __attribute__((vector_size(kLanes * 4)));
typedef std::int32_t Integers __attribute__((vector_size(kLanes * 4)));
typedef float Unaligned __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

constexpr std::int64_t kRowBlock = 32;  // query rows whose scores are held
constexpr int kTileRows = 4;            // rows of one register tile
constexpr int kTileVectors = 3;         // column vectors of one register tile

inline Vector Load(const float* p) { return *reinterpret_cast<const Unaligned*>(p); }
inline void Store(float* p, Vector x) { *reinterpret_cast<Unaligned*>(p) = x; }
inline Vector Spread(float x) { return Vector{} + x; }
inline std::int64_t Least(std::int64_t a, std::int64_t b) { return a < b ? a : b; }
inline std::int64_t RoundUp(std::int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

inline float Sum(Vector x) {
  float sum = 0.0f;
  for (int lane = 0; lane < kLanes; ++lane) sum += x[lane];
  return sum;
}
inline float Largest(Vector x) {
  float largest = x[0];
  for (int lane = 1; lane < kLanes; ++lane) largest = x[lane] > largest ? x[lane] : largest;
  return largest;
}
inline Integers LaneIndex() {
  Integers index{};
  for (int lane = 0; lane < kLanes; ++lane) index[lane] = lane;
  return index;
}

// e^x for x <= 0, within 2 ulp; exactly 0 where it would not be a normal number; NaN stays NaN.
inline Vector Exp(Vector x) {
  constexpr float kSmallest = -87.3f, kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, kept in the low bits
  const Vector clamped = x < kSmallest ? Spread(kSmallest) : x;
  const Vector shifted = clamped * 1.44269504f + kRound;
  const Vector whole = shifted - kRound;
  const Vector rest = clamped - whole * 0.693359375f - whole * -2.12194440e-4f;
  Vector sum = Spread(1.9875691500e-4f);
  sum = sum * rest + 1.3981999507e-3f;
  sum = sum * rest + 8.3334519073e-3f;
  sum = sum * rest + 4.1665795894e-2f;
  sum = sum * rest + 1.6666665459e-1f;
  sum = sum * rest + 5.0000001201e-1f;
  sum = sum * (rest * rest) + rest + 1.0f;
  const Vector scaled = reinterpret_cast<Vector>(reinterpret_cast<Integers>(sum) + (reinterpret_cast<Integers>(shifted) << 23));
  const Vector result = x < kSmallest ? Vector{} : scaled;
  return x == x ? result : x;
}

// How element (row, k) of the left factor is found.
struct LeftFactor {
  const float* data;
  std::int64_t row_stride;
  std::int64_t k_stride;
};

// c [kRows, kVectors vectors] = (or +=) a b over k in [k_begin, k_end). Each sum runs over k in order, whatever the tile's shape, so that
// backward finds the very scores of forward.
template <int kRows, int kVectors, bool kAdd>
inline void Tile(LeftFactor a, const float* b, std::int64_t b_stride, float* c, std::int64_t c_stride, std::int64_t k_begin,
                 std::int64_t k_end) {
  Vector sums[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int n = 0; n < kVectors; ++n) sums[r][n] = kAdd ? Load(c + r * c_stride + n * kLanes) : Vector{};
  }
  for (std::int64_t k = k_begin; k < k_end; ++k) {
    Vector right[kVectors];
    for (int n = 0; n < kVectors; ++n) right[n] = Load(b + k * b_stride + n * kLanes);
    for (int r = 0; r < kRows; ++r) {
      const Vector left = Spread(a.data[r * a.row_stride + k * a.k_stride]);
      for (int n = 0; n < kVectors; ++n) sums[r][n] += left * right[n];
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int n = 0; n < kVectors; ++n) Store(c + r * c_stride + n * kLanes, sums[r][n]);
  }
}

template <int kRows, bool kAdd>
inline void TileRow(LeftFactor a, const float* b, std::int64_t b_stride, float* c, std::int64_t c_stride, std::int64_t k_begin,
                    std::int64_t k_end, std::int64_t columns) {
  std::int64_t n = 0;
  for (; n + kTileVectors * kLanes <= columns; n += kTileVectors * kLanes) {
    Tile<kRows, kTileVectors, kAdd>(a, b + n, b_stride, c + n, c_stride, k_begin, k_end);
  }
  if (n + 2 * kLanes <= columns) {
    Tile<kRows, 2, kAdd>(a, b + n, b_stride, c + n, c_stride, k_begin, k_end);
    n += 2 * kLanes;
  }
  if (n < columns) Tile<kRows, 1, kAdd>(a, b + n, b_stride, c + n, c_stride, k_begin, k_end);
}

// `rows` is 1 to kTileRows; columns is a multiple of kLanes.
template <bool kAdd>
inline void Product(std::int64_t rows, LeftFactor a, const float* b, std::int64_t b_stride, float* c, std::int64_t c_stride,
                    std::int64_t k_begin, std::int64_t k_end, std::int64_t columns) {
  if (rows == kTileRows) return TileRow<kTileRows, kAdd>(a, b, b_stride, c, c_stride, k_begin, k_end, columns);
  for (std::int64_t r = 0; r < rows; ++r) {
    TileRow<1, kAdd>({a.data + r * a.row_stride, 0, a.k_stride}, b, b_stride, c + r * c_stride, 0, k_begin, k_end, columns);
  }
}

// Hands out scratch.
struct Arena {
  float* Take(std::int64_t count) {
    float* taken = next;
    next += count;
    return taken;
  }
  float* next;
};

// One head's sizes, padded to whole vectors.
struct Shape {
  explicit Shape(const HeadInputs& inputs)
      : tokens(inputs.tokens), width(inputs.width), padded_tokens(RoundUp(tokens)), padded_width(RoundUp(width)),
        causal(inputs.causal) {}
  // Keys that query i looks at.
  std::int64_t Keys(std::int64_t i) const { return causal ? i + 1 : tokens; }
  std::int64_t tokens, width, padded_tokens, padded_width;
  bool causal;
};

// factor * x^T as [width, padded_tokens].
const float* Transposed(const Shape& shape, ConstRows x, float factor, Arena* arena) {
  float* out = arena->Take(shape.width * shape.padded_tokens);
  for (std::int64_t t = 0; t < shape.tokens; ++t) {
    for (std::int64_t c = 0; c < shape.width; ++c) out[c * shape.padded_tokens + t] = factor * x.data[t * x.stride + c];
  }
  for (std::int64_t c = 0; c < shape.width; ++c) {
    for (std::int64_t t = shape.tokens; t < shape.padded_tokens; ++t) out[c * shape.padded_tokens + t] = 0.0f;
  }
  return out;
}

// x itself when its rows are whole vectors, else a padded copy.
ConstRows WholeVectors(const Shape& shape, ConstRows x, Arena* arena) {
  if (shape.width == shape.padded_width) return x;
  float* out = arena->Take(shape.tokens * shape.padded_width);
  for (std::int64_t t = 0; t < shape.tokens; ++t) {
    for (std::int64_t c = 0; c < shape.padded_width; ++c) {
      out[t * shape.padded_width + c] = c < shape.width ? x.data[t * x.stride + c] : 0.0f;
    }
  }
  return {out, shape.padded_width};
}

// Where a product with whole vectors may be written: the target, or a padded stand-in that CopyBack() brings home.
struct Target {
  Target(const Shape& shape, Rows rows, Arena* arena)
      : home(rows), direct(shape.width == shape.padded_width),
        written(direct ? rows : Rows{arena->Take(shape.tokens * shape.padded_width), shape.padded_width}) {}
  void Clear(const Shape& shape) {
    for (std::int64_t t = 0; t < shape.tokens; ++t) {
      for (std::int64_t c = 0; c < shape.padded_width; c += kLanes) Store(written.data + t * written.stride + c, Vector{});
    }
  }
  void CopyBack(const Shape& shape) {
    if (direct) return;
    for (std::int64_t t = 0; t < shape.tokens; ++t) {
      for (std::int64_t c = 0; c < shape.width; ++c) home.data[t * home.stride + c] = written.data[t * written.stride + c];
    }
  }
  Rows home;
  bool direct;
  Rows written;
};

// left [rows begin..end) times right, into block [end-begin, padded_tokens]; columns up to the last key that the tile's rows look at.
void AgainstKeys(const Shape& shape, ConstRows left, const float* right_transposed, std::int64_t begin, std::int64_t end,
                 float* block) {
  for (std::int64_t i = begin; i < end; i += kTileRows) {
    const std::int64_t rows = Least(kTileRows, end - i);
    Product<false>(rows, {left.data + i * left.stride, left.stride, 1}, right_transposed, shape.padded_tokens,
                   block + (i - begin) * shape.padded_tokens, shape.padded_tokens, 0, shape.width,
                   RoundUp(shape.Keys(i + rows - 1)));
  }
}

struct RowStatistics {
  float max, max_abs, sum, shifted_sum;
};

// Scores of one row -> exp(s - max), zero after its keys up to `padded` columns.
RowStatistics Exponentiate(float* row, std::int64_t keys, std::int64_t padded) {
  const std::int64_t whole = keys / kLanes * kLanes;
  const Integers inside = LaneIndex() < static_cast<std::int32_t>(keys - whole);
  const float lowest = -__builtin_inff();
  Vector max = Spread(lowest), max_abs{};
  const auto measure = [&](Vector s, Vector s_or_zero) {
    max = s > max ? s : max;
    const Vector abs = s_or_zero < 0.0f ? -s_or_zero : s_or_zero;
    max_abs = abs > max_abs ? abs : max_abs;
  };
  for (std::int64_t j = 0; j < whole; j += kLanes) measure(Load(row + j), Load(row + j));
  if (whole < keys) {
    const Vector s = Load(row + whole);
    measure(inside ? s : Spread(lowest), inside ? s : Vector{});
  }
  RowStatistics result{Largest(max), Largest(max_abs), 0.0f, 0.0f};
  Vector sum{}, shifted_sum{};
  for (std::int64_t j = 0; j < padded; j += kLanes) {
    Vector e{};
    if (j < whole) {
      const Vector shifted = Load(row + j) - result.max;
      e = Exp(shifted);
      sum += e;
      shifted_sum += e * shifted;
    } else if (j == whole) {
      const Vector shifted = inside ? Load(row + j) - result.max : Vector{};
      e = inside ? Exp(shifted) : Vector{};
      sum += e;
      shifted_sum += e * shifted;
    }
    Store(row + j, e);
  }
  result.sum = Sum(sum);
  result.shifted_sum = Sum(shifted_sum);
  return result;
}

// One row of the forward pass after its scores; the output row is divided by the sum once it is there.
void FinishForwardRow(const HeadOutputs& outputs, std::int64_t i, const RowStatistics& row, float* max_abs) {
  const float log_sum = std::log(row.sum);
  outputs.row_max[i] = row.max;
  outputs.log_sum[i] = log_sum;
  const float entropy = log_sum - row.shifted_sum / row.sum;
  outputs.entropy[i] = entropy < 0.0f ? 0.0f : entropy;
  if (row.max_abs > *max_abs) *max_abs = row.max_abs;
  // Comparisons lose a NaN; the sum of the row has kept it.
  if (row.sum != row.sum) *max_abs = row.sum;
}

void Forward(const HeadInputs& inputs, const HeadOutputs& outputs, float* scratch) {
  const Shape shape(inputs);
  Arena arena{scratch};
  const float* k_transposed = Transposed(shape, inputs.k, inputs.scale, &arena);
  const ConstRows v = WholeVectors(shape, inputs.v, &arena);
  Target out(shape, outputs.out, &arena);
  float* block = arena.Take(kRowBlock * shape.padded_tokens);
  float max_abs = 0.0f;
  for (std::int64_t begin = 0; begin < shape.tokens; begin += kRowBlock) {
    const std::int64_t end = Least(begin + kRowBlock, shape.tokens);
    AgainstKeys(shape, inputs.q, k_transposed, begin, end, block);
    for (std::int64_t i = begin; i < end; i += kTileRows) {
      const std::int64_t rows = Least(kTileRows, end - i), keys = shape.Keys(i + rows - 1);
      float* weights = block + (i - begin) * shape.padded_tokens;
      float sums[kTileRows];
      for (std::int64_t r = 0; r < rows; ++r) {
        const RowStatistics row = Exponentiate(weights + r * shape.padded_tokens, shape.Keys(i + r), RoundUp(keys));
        FinishForwardRow(outputs, i + r, row, &max_abs);
        sums[r] = row.sum;
      }
      float* out_rows = out.written.data + i * out.written.stride;
      Product<false>(rows, {weights, shape.padded_tokens, 1}, v.data, v.stride, out_rows, out.written.stride, 0, keys,
                     shape.padded_width);
      for (std::int64_t r = 0; r < rows; ++r) {
        float* out_row = out_rows + r * out.written.stride;
        for (std::int64_t c = 0; c < shape.padded_width; c += kLanes) Store(out_row + c, Load(out_row + c) / sums[r]);
      }
    }
  }
  out.CopyBack(shape);
  *outputs.max_abs_score = max_abs;
}

// Scores and dP of one row -> weights p and scale * dS, zero after its keys up to `padded` columns. The mean over the row is taken from
// the numbers it is subtracted from, so that it cancels exactly where one weight is 1.
void BackwardRow(float* scores, float* d_weights, std::int64_t keys, std::int64_t padded, float max, float log_sum, float g,
                 float scale) {
  const std::int64_t whole = keys / kLanes * kLanes;
  const Integers inside = LaneIndex() < static_cast<std::int32_t>(keys - whole);
  Vector mean_sum{};
  for (std::int64_t j = 0; j < padded; j += kLanes) {
    Vector p{}, d{};
    if (j < whole) {
      const Vector log_p = Load(scores + j) - max - log_sum;
      p = Exp(log_p);
      d = Load(d_weights + j) - g * log_p;
      mean_sum += p * d;
    } else if (j == whole) {
      const Vector log_p = inside ? Load(scores + j) - max - log_sum : Vector{};
      p = inside ? Exp(log_p) : Vector{};
      d = inside ? Load(d_weights + j) - g * log_p : Vector{};
      mean_sum += p * d;
    }
    Store(scores + j, p);
    Store(d_weights + j, d);
  }
  const float mean = Sum(mean_sum);
  for (std::int64_t j = 0; j < padded; j += kLanes) {
    Store(d_weights + j, scale * (Load(scores + j) * (Load(d_weights + j) - mean)));
  }
}

// c[keys,width] += block^T right: what a block of query rows adds to dK (with dS and q) or to dV (with p and dO).
void AddToKeys(const Shape& shape, const float* block, ConstRows right, std::int64_t begin, std::int64_t end, Rows c) {
  const std::int64_t keys = shape.Keys(end - 1);
  for (std::int64_t j = 0; j < keys; j += kTileRows) {
    const std::int64_t rows = Least(kTileRows, keys - j);
    // Earlier queries do not look at these keys. Their columns of the block may hold anything beyond the last tile's padding.
    const std::int64_t first = shape.causal && j > begin ? (j - begin) / kTileRows * kTileRows : 0;
    Product<true>(rows, {block + j, 1, shape.padded_tokens}, right.data + begin * right.stride, right.stride,
                  c.data + j * c.stride, c.stride, first, end - begin, shape.padded_width);
  }
}

void Backward(const HeadInputs& inputs, const HeadGradients& gradients, float* scratch) {
  const Shape shape(inputs);
  const bool through_out = gradients.d_out.data != nullptr;
  Arena arena{scratch};
  const float* k_transposed = Transposed(shape, inputs.k, inputs.scale, &arena);
  const float* v_transposed = through_out ? Transposed(shape, inputs.v, 1.0f, &arena) : nullptr;
  const ConstRows q = WholeVectors(shape, inputs.q, &arena), k = WholeVectors(shape, inputs.k, &arena);
  const ConstRows d_out = through_out ? WholeVectors(shape, gradients.d_out, &arena) : ConstRows{};
  Target dq(shape, gradients.dq, &arena), dk(shape, gradients.dk, &arena), dv(shape, gradients.dv, &arena);
  dk.Clear(shape);
  dv.Clear(shape);
  float* weights = arena.Take(kRowBlock * shape.padded_tokens);
  float* d_scores = arena.Take(kRowBlock * shape.padded_tokens);
  for (std::int64_t begin = 0; begin < shape.tokens; begin += kRowBlock) {
    const std::int64_t end = Least(begin + kRowBlock, shape.tokens);
    AgainstKeys(shape, inputs.q, k_transposed, begin, end, weights);
    if (through_out) {
      AgainstKeys(shape, gradients.d_out, v_transposed, begin, end, d_scores);
    } else {
      for (std::int64_t n = 0; n < (end - begin) * shape.padded_tokens; n += kLanes) Store(d_scores + n, Vector{});
    }
    for (std::int64_t i = begin; i < end; i += kTileRows) {
      const std::int64_t rows = Least(kTileRows, end - i), keys = shape.Keys(i + rows - 1);
      float* tile = d_scores + (i - begin) * shape.padded_tokens;
      for (std::int64_t r = 0; r < rows; ++r) {
        const std::int64_t row = (i - begin + r) * shape.padded_tokens;
        const float g = gradients.d_entropy != nullptr ? gradients.d_entropy[i + r] : 0.0f;
        BackwardRow(weights + row, d_scores + row, shape.Keys(i + r), RoundUp(keys), gradients.row_max[i + r],
                    gradients.log_sum[i + r], g, inputs.scale);
      }
      Product<false>(rows, {tile, shape.padded_tokens, 1}, k.data, k.stride, dq.written.data + i * dq.written.stride,
                     dq.written.stride, 0, keys, shape.padded_width);
    }
    AddToKeys(shape, d_scores, q, begin, end, dk.written);
    if (through_out) AddToKeys(shape, weights, d_out, begin, end, dv.written);
  }
  dq.CopyBack(shape);
  dk.CopyBack(shape);
  dv.CopyBack(shape);
}

// The most that Backward takes: two transposes, three padded copies, three stand-ins, two blocks.
std::int64_t ScratchFloats(std::int64_t tokens, std::int64_t width) {
  return 2 * width * RoundUp(tokens) + 6 * tokens * RoundUp(width) + 2 * kRowBlock * RoundUp(tokens);
}

}  // namespace
}  // namespace entrain::kernels
