// Matrix products and copies in the layouts that they take. Included after kLanes and kTileRows; local to the including file.
//
// Every product is rows of A times B with B's columns in vector registers: a tile of kTileRows rows by two vectors, summed over k in
// order, whatever the tile's shape, so that backward finds the very scores of forward. Scores and dP take K^T and V^T as *panels*:
// [panel][width][kPanel], the k-th row of a panel being number k of kPanel keys.
#pragma once

#include <cstdint>
#include <utility>

#include "model/kernels/cpu_kernel.h"
#include "model/kernels/cpu_vector_inl.h"

namespace entrain::kernels {
namespace {

constexpr std::int64_t kPanel = 2 * kLanes;

// Element (row, k) is data[row * row_stride + k * k_stride].
struct LeftFactor {
  const float* data;
  std::int64_t row_stride;
  std::int64_t k_stride;
};
// Row k of column pair n starts at data[n * pair_stride + k * k_stride].
struct RightFactor {
  const float* data;
  std::int64_t pair_stride;
  std::int64_t k_stride;
};

template <int kRows, int kVectors, bool kAdd>
ENTRAIN_INLINE void Tile(LeftFactor a, const float* b, std::int64_t b_stride, float* c, std::int64_t c_stride, std::int64_t depth) {
  Vector sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int n = 0; n < kVectors; ++n) sums[r][n] = kAdd ? Load(c + r * c_stride + n * kLanes) : Vector{};
  }
  for (std::int64_t k = 0; k < depth; ++k) {
    Vector right[kVectors];
#pragma GCC unroll 2
    for (int n = 0; n < kVectors; ++n) right[n] = Load(b + k * b_stride + n * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Vector left = Spread(a.data[r * a.row_stride + k * a.k_stride]);
#pragma GCC unroll 2
      for (int n = 0; n < kVectors; ++n) sums[r][n] += left * right[n];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int n = 0; n < kVectors; ++n) Store(c + r * c_stride + n * kLanes, sums[r][n]);
  }
}

template <int kRows, bool kAdd>
void RowGroup(LeftFactor a, RightFactor b, float* c, std::int64_t c_stride, std::int64_t depth, std::int64_t columns) {
  std::int64_t n = 0;
  for (; n + kPanel <= columns; n += kPanel, b.data += b.pair_stride) {
    Tile<kRows, 2, kAdd>(a, b.data, b.k_stride, c + n, c_stride, depth);
  }
  if (n < columns) Tile<kRows, 1, kAdd>(a, b.data, b.k_stride, c + n, c_stride, depth);
}

using RowGroupFunction = void (*)(LeftFactor, RightFactor, float*, std::int64_t, std::int64_t, std::int64_t);

template <bool kAdd, int... kIndices>
RowGroupFunction RowGroupOf(std::int64_t rows, std::integer_sequence<int, kIndices...>) {
  static constexpr RowGroupFunction kGroups[] = {RowGroup<kIndices + 1, kAdd>...};
  return kGroups[rows - 1];
}

// c [rows, columns] = (or +=) a b over `depth` terms; rows is 1 to kTileRows, columns a multiple of kLanes.
template <bool kAdd>
ENTRAIN_INLINE void Product(std::int64_t rows, LeftFactor a, RightFactor b, float* c, std::int64_t c_stride, std::int64_t depth,
                            std::int64_t columns) {
  RowGroupOf<kAdd>(rows, std::make_integer_sequence<int, kTileRows>())(a, b, c, c_stride, depth, columns);
}

typedef float Four __attribute__((vector_size(16)));
typedef float UnalignedFour __attribute__((vector_size(16), aligned(4), may_alias));
typedef std::int32_t FourIntegers __attribute__((vector_size(16)));

ENTRAIN_INLINE Four LoadFour(const float* p) { return *reinterpret_cast<const UnalignedFour*>(p); }
ENTRAIN_INLINE Four LoadFour(const std::uint16_t* p) { return Four{FromHalf(p[0]), FromHalf(p[1]), FromHalf(p[2]), FromHalf(p[3])}; }
ENTRAIN_INLINE Vector LoadWide(const float* p) { return Load(p); }
ENTRAIN_INLINE Vector LoadWide(const std::uint16_t* p) { return LoadHalves(p); }
ENTRAIN_INLINE void StoreWide(float* p, Vector x) { Store(p, x); }
ENTRAIN_INLINE void StoreWide(std::uint16_t* p, Vector x) { StoreHalves(p, x); }
ENTRAIN_INLINE float ToFloat(float x) { return x; }
ENTRAIN_INLINE float ToFloat(std::uint16_t x) { return FromHalf(x); }
ENTRAIN_INLINE void Narrow(float x, float* p) { *p = x; }
ENTRAIN_INLINE void Narrow(float x, std::uint16_t* p) { *p = ToHalf(x); }

// Four rows of four numbers -> their transpose, rows kPanel apart.
template <typename Number>
ENTRAIN_INLINE void TransposeFour(const Number* in, std::int64_t stride, float* out) {
  const Four a = LoadFour(in), b = LoadFour(in + stride), c = LoadFour(in + 2 * stride), d = LoadFour(in + 3 * stride);
  constexpr FourIntegers kLow{0, 4, 1, 5}, kHigh{2, 6, 3, 7}, kFirst{0, 1, 4, 5}, kSecond{2, 3, 6, 7};
  const Four ab = __builtin_shuffle(a, b, kLow), cd = __builtin_shuffle(c, d, kLow);
  const Four ab_high = __builtin_shuffle(a, b, kHigh), cd_high = __builtin_shuffle(c, d, kHigh);
  const auto put = [out](std::int64_t row, Four x) { *reinterpret_cast<UnalignedFour*>(out + row * kPanel) = x; };
  put(0, __builtin_shuffle(ab, cd, kFirst));
  put(1, __builtin_shuffle(ab, cd, kSecond));
  put(2, __builtin_shuffle(ab_high, cd_high, kFirst));
  put(3, __builtin_shuffle(ab_high, cd_high, kSecond));
}

// The first `count` rows of x as panels; rows past the count are zero.
template <typename Number>
void PanelsOf(const Number* x, std::int64_t stride, std::int64_t count, std::int64_t width, float* out) {
  for (std::int64_t first = 0; first < count; first += kPanel, out += width * kPanel) {
    for (std::int64_t t = 0; t < kPanel; t += 4) {
      const std::int64_t row = first + t;
      const Number* in = x + row * stride;
      std::int64_t c = 0;
      if (row + 4 <= count) {
        for (; c + 4 <= width; c += 4) TransposeFour(in + c, stride, out + c * kPanel + t);
      }
      for (; c < width; ++c) {
        for (std::int64_t n = 0; n < 4; ++n) out[c * kPanel + t + n] = row + n < count ? ToFloat(in[n * stride + c]) : 0.0f;
      }
    }
  }
}

// factor * x, rows `padded` floats long and zero past the width.
template <typename Number>
void CopyOf(const Number* x, std::int64_t stride, std::int64_t count, std::int64_t width, std::int64_t padded, float factor,
            float* out) {
  for (std::int64_t t = 0; t < count; ++t, x += stride, out += padded) {
    std::int64_t c = 0;
    for (; c + kLanes <= width; c += kLanes) Store(out + c, factor * LoadWide(x + c));
    for (; c < padded; ++c) out[c] = c < width ? factor * ToFloat(x[c]) : 0.0f;
  }
}

template <typename Number>
void StoreRow(const float* row, std::int64_t width, float factor, Number* out) {
  std::int64_t c = 0;
  for (; c + kLanes <= width; c += kLanes) StoreWide(out + c, factor * Load(row + c));
  for (; c < width; ++c) Narrow(factor * row[c], out + c);
}

// Calls f with a pointer to row `row` of x in its own type.
template <typename OnNumbers>
ENTRAIN_INLINE void Typed(CpuStorage storage, ConstRows x, std::int64_t row, const OnNumbers& f) {
  if (storage == CpuStorage::kFloat32) return f(static_cast<const float*>(x.data) + row * x.stride);
  f(static_cast<const std::uint16_t*>(x.data) + row * x.stride);
}
template <typename OnNumbers>
ENTRAIN_INLINE void Typed(CpuStorage storage, Rows x, std::int64_t row, const OnNumbers& f) {
  if (storage == CpuStorage::kFloat32) return f(static_cast<float*>(x.data) + row * x.stride);
  f(static_cast<std::uint16_t*>(x.data) + row * x.stride);
}

}  // namespace
}  // namespace entrain::kernels
