// The step's kernels for vectors of kLanes floats; cpu_kernel_inl.h says how such a file is used.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "model/kernels/step_cpu_kernel.h"

namespace entrain::kernels {
namespace {

typedef float Vector __attribute__((vector_size(kLanes * 4)));
typedef std::int32_t Integers __attribute__((vector_size(kLanes * 4)));
typedef float Unaligned __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

constexpr std::int64_t kNormBlock = 1024;

inline Vector Load(const float* p) { return *reinterpret_cast<const Unaligned*>(p); }
inline void Store(float* p, Vector x) { *reinterpret_cast<Unaligned*>(p) = x; }
inline Vector Spread(float x) { return Vector{} + x; }

// The first `count` of a vector's floats, zeros behind them.
inline Vector LoadSome(const float* p, std::int64_t count) {
  Vector x{};
  std::memcpy(&x, p, static_cast<std::size_t>(count) * sizeof(float));
  return x;
}
inline void StoreSome(float* p, Vector x, std::int64_t count) { std::memcpy(p, &x, static_cast<std::size_t>(count) * sizeof(float)); }

inline float Sum(Vector x) {
  float sum = 0.0f;
  for (int lane = 0; lane < kLanes; ++lane) sum += x[lane];
  return sum;
}
inline Integers FirstLanes(std::int64_t count) {
  Integers index{};
  for (int lane = 0; lane < kLanes; ++lane) index[lane] = lane;
  return index < static_cast<std::int32_t>(count);
}

// Calls on_vector(begin, count) for whole vectors and then for what is left of the width.
template <typename OnVector>
inline void ForVectors(std::int64_t width, const OnVector& on_vector) {
  std::int64_t c = 0;
  for (; c + kLanes <= width; c += kLanes) on_vector(c, kLanes);
  if (c < width) on_vector(c, width - c);
}
inline Vector LoadAt(const float* p, std::int64_t count) { return count == kLanes ? Load(p) : LoadSome(p, count); }
inline void StoreAt(float* p, Vector x, std::int64_t count) { count == kLanes ? Store(p, x) : StoreSome(p, x, count); }
inline void AddAt(float* p, Vector x, std::int64_t count) { StoreAt(p, LoadAt(p, count) + x, count); }

// e^x for x <= 0, within 2 ulp; exactly 0 where it would not be a normal number; NaN stays NaN.
inline Vector ExpOfNegative(Vector x) {
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

// The distribution function of N(0,1) and exp(-x^2/2). The tail is erfc(z) = exp(-z^2) t P(t) with z = |x| / sqrt 2, t = 1 / (1 + 0.4 z); P is
// a minimax fit over z in [0, 7.5], relative error 4e-8.
struct Normal {
  explicit Normal(Vector x) : bell(ExpOfNegative(x * x * -0.5f)) {
    const Vector size = x < 0.0f ? -x : x;
    const Vector t = 1.0f / (1.0f + 0.28284271f * size);
    Vector sum = Spread(0.03463776f);
    sum = sum * t - 0.10724118f;
    sum = sum * t + 0.013454663f;
    sum = sum * t + 0.17155960f;
    sum = sum * t + 0.019651281f;
    sum = sum * t + 0.22018338f;
    sum = sum * t + 0.19467263f;
    sum = sum * t + 0.22751479f;
    sum = sum * t + 0.22556709f;
    const Vector tail = 0.5f * bell * (t * sum);
    below = x < 0.0f ? tail : 1.0f - tail;
  }
  Vector bell, below;
};

// 1 / (1 + e^-z).
inline Vector Sigmoid(Vector z) {
  const Vector e = ExpOfNegative(z < 0.0f ? z : -z);
  return (z < 0.0f ? e : Spread(1.0f)) / (1.0f + e);
}

// The tanh form is x Sigmoid(2 u), u = sqrt(2/pi) (x + 0.044715 x^3).
constexpr float kTwiceRoot = 1.5957691f, kCubic = 0.044715f, kBellHeight = 0.39894228f;

// An activation's value and derivative at x. The numbers are ActivationKind's.
struct Activated {
  Vector value, derivative;
};
template <int kKind>
inline Activated Activate(Vector x, float slope) {
  if constexpr (kKind == 1) return {x > 0.0f ? x : (x == x ? Vector{} : x), x > 0.0f ? Spread(1.0f) : Vector{}};
  if constexpr (kKind == 2) return {x > 0.0f ? x : slope * x, x > 0.0f ? Spread(1.0f) : Spread(slope)};
  if constexpr (kKind == 3) {
    const Normal normal(x);
    return {x * normal.below, normal.below + x * kBellHeight * normal.bell};
  }
  if constexpr (kKind == 4) {
    const Vector squared = x * x;
    const Vector s = Sigmoid(kTwiceRoot * x * (1.0f + kCubic * squared));
    return {x * s, s + x * s * (1.0f - s) * kTwiceRoot * (1.0f + 3.0f * kCubic * squared)};
  }
  return {x, Spread(1.0f)};
}

void CrossEntropyRow(const CpuCrossEntropy& call, std::int64_t n) {
  float* row = call.logits + n * call.stride;
  const std::int64_t label = call.labels[n], whole = call.vocabulary / kLanes * kLanes, rest = call.vocabulary - whole;
  if (label < 0) {
    call.loss[n] = 0.0f;
    if (call.gradient) std::memset(row, 0, static_cast<std::size_t>(call.columns) * sizeof(float));
    return;
  }
  constexpr float kLowest = -__builtin_inff();
  const Integers inside = FirstLanes(rest);
  Vector largest[4] = {Spread(kLowest), Spread(kLowest), Spread(kLowest), Spread(kLowest)};
  for (std::int64_t c = 0, turn = 0; c < whole; c += kLanes, ++turn) {
    const Vector x = Load(row + c);
    largest[turn & 3] = x > largest[turn & 3] ? x : largest[turn & 3];
  }
  float max = kLowest;
  for (int lane = 0; lane < kLanes; ++lane) {
    for (const Vector& lanes : largest) max = lanes[lane] > max ? lanes[lane] : max;
  }
  for (std::int64_t c = whole; c < call.vocabulary; ++c) max = row[c] > max ? row[c] : max;
  const float label_logit = row[label];
  Vector sums[2] = {};
  for (std::int64_t c = 0, turn = 0; c < whole; c += kLanes, ++turn) {
    const Vector e = ExpOfNegative(Load(row + c) - max);
    sums[turn & 1] += e;
    if (call.gradient) Store(row + c, e);
  }
  if (rest > 0) {
    const Vector e = inside ? ExpOfNegative((inside ? LoadSome(row + whole, rest) : Spread(max)) - max) : Vector{};
    sums[0] += e;
    if (call.gradient) StoreSome(row + whole, e, rest);
  }
  const float sum = Sum(sums[0] + sums[1]);
  call.loss[n] = std::log(sum) - (label_logit - max);
  if (!call.gradient) return;
  const float factor = call.row_weight / sum;
  for (std::int64_t c = 0; c < whole; c += kLanes) Store(row + c, factor * Load(row + c));
  for (std::int64_t c = whole; c < call.vocabulary; ++c) row[c] *= factor;
  row[label] -= call.row_weight;
  for (std::int64_t c = call.vocabulary; c < call.columns; ++c) row[c] = 0.0f;
}

void CrossEntropyRows(const CpuCrossEntropy& call, std::int64_t begin, std::int64_t end) {
  for (std::int64_t n = begin; n < end; ++n) CrossEntropyRow(call, n);
}

void ResidualNormRows(const CpuResidualNorm& call, std::int64_t begin, std::int64_t end) {
  const float per_column = 1.0f / static_cast<float>(call.width);
  for (std::int64_t n = begin; n < end; ++n) {
    const std::int64_t row = n * call.width;
    const float* x = call.residual + row;
    Vector total{};
    if (call.delta != nullptr) {
      float* sum = call.sum + row;
      ForVectors(call.width, [&](std::int64_t c, std::int64_t count) {
        Vector added = LoadAt(call.delta + row + c, count);
        if (call.bias != nullptr) added += LoadAt(call.bias + c, count);
        const Vector value = LoadAt(x + c, count) + added;
        total += value;
        StoreAt(sum + c, value, count);
      });
      x = sum;
    } else {
      ForVectors(call.width, [&](std::int64_t c, std::int64_t count) { total += LoadAt(x + c, count); });
    }
    if (call.gain == nullptr) continue;
    const float mean = Sum(total) * per_column;
    Vector squares{};
    ForVectors(call.width, [&](std::int64_t c, std::int64_t count) {
      Vector centred = LoadAt(x + c, count) - mean;
      if (count < kLanes) centred = FirstLanes(count) ? centred : Vector{};
      squares += centred * centred;
    });
    const float inverse = 1.0f / std::sqrt(Sum(squares) * per_column + call.eps);
    ForVectors(call.width, [&](std::int64_t c, std::int64_t count) {
      const Vector unit = (LoadAt(x + c, count) - mean) * inverse;
      StoreAt(call.normed + row + c, unit * LoadAt(call.gain + c, count) + LoadAt(call.shift + c, count), count);
    });
    call.mean[n] = mean;
    call.inverse_deviation[n] = inverse;
  }
}

// d_x = inverse (d_unit - mean(d_unit) - unit mean(d_unit unit)), d_unit = gain d_normed.
void ResidualNormGradientRows(const CpuResidualNormGradient& call, std::int64_t begin, std::int64_t end, float* sums) {
  const float per_column = 1.0f / static_cast<float>(call.width);
  float* gain_sum = sums;
  float* shift_sum = sums + call.width;
  float* bias_sum = sums + 2 * call.width;
  for (std::int64_t n = begin; n < end; ++n) {
    const std::int64_t row = n * call.width;
    float* d_sum = call.d_sum + row;
    if (call.gain == nullptr) {
      ForVectors(call.width, [&](std::int64_t c, std::int64_t count) { AddAt(bias_sum + c, LoadAt(d_sum + c, count), count); });
      continue;
    }
    const float* x = call.sum + row;
    const float* d_normed = call.d_normed + row;
    const float mean = call.mean[n], inverse = call.inverse_deviation[n];
    Vector first{}, second{};
    ForVectors(call.width, [&](std::int64_t c, std::int64_t count) {
      const Vector d = LoadAt(d_normed + c, count), unit = (LoadAt(x + c, count) - mean) * inverse;
      const Vector d_unit = d * LoadAt(call.gain + c, count);  // 0 behind the width
      first += d_unit;
      second += d_unit * unit;
      AddAt(gain_sum + c, d * unit, count);
      AddAt(shift_sum + c, d, count);
    });
    const float first_mean = Sum(first) * per_column, second_mean = Sum(second) * per_column;
    ForVectors(call.width, [&](std::int64_t c, std::int64_t count) {
      const Vector unit = (LoadAt(x + c, count) - mean) * inverse;
      const Vector d_unit = LoadAt(d_normed + c, count) * LoadAt(call.gain + c, count);
      const Vector whole = LoadAt(d_sum + c, count) + inverse * (d_unit - first_mean - unit * second_mean);
      StoreAt(d_sum + c, whole, count);
      AddAt(bias_sum + c, whole, count);
    });
  }
}

template <int kKind>
void BiasActivationRows(const CpuBiasActivation& call, std::int64_t begin, std::int64_t end) {
  for (std::int64_t n = begin; n < end; ++n) {
    const std::int64_t row = n * call.width;
    ForVectors(call.width, [&](std::int64_t c, std::int64_t count) {
      Vector x = LoadAt(call.x + row + c, count);
      if (call.bias != nullptr) x += LoadAt(call.bias + c, count);
      const Activated activated = Activate<kKind>(x, call.slope);
      StoreAt(call.y + row + c, activated.value, count);
      if (call.derivative != nullptr) StoreAt(call.derivative + row + c, activated.derivative, count);
    });
  }
}

template <int kKind>
void BiasActivationGradientRows(const CpuBiasActivationGradient& call, std::int64_t begin, std::int64_t end, float* sums) {
  Vector slope_sum{};
  for (std::int64_t n = begin; n < end; ++n) {
    const std::int64_t row = n * call.width;
    ForVectors(call.width, [&](std::int64_t c, std::int64_t count) {
      Vector x = LoadAt(call.x + row + c, count);
      if (call.bias != nullptr) x += LoadAt(call.bias + c, count);
      const Vector d_y = LoadAt(call.d_y + row + c, count);  // 0 behind the width
      if constexpr (kKind == 2) slope_sum += x > 0.0f ? Vector{} : d_y * x;
      const Vector d_x = d_y * Activate<kKind>(x, call.slope).derivative;
      StoreAt(call.d_x + row + c, d_x, count);
      AddAt(sums + c, d_x, count);
    });
  }
  sums[call.width] += Sum(slope_sum);
}

void KeptDerivativeRows(const CpuBiasActivationGradient& call, std::int64_t begin, std::int64_t end, float* sums) {
  for (std::int64_t n = begin; n < end; ++n) {
    const std::int64_t row = n * call.width;
    ForVectors(call.width, [&](std::int64_t c, std::int64_t count) {
      const Vector d_x = LoadAt(call.d_y + row + c, count) * LoadAt(call.derivative + row + c, count);
      StoreAt(call.d_x + row + c, d_x, count);
      AddAt(sums + c, d_x, count);
    });
  }
}

void BiasActivationOf(const CpuBiasActivation& call, std::int64_t begin, std::int64_t end) {
  switch (call.kind) {
    case 1: return BiasActivationRows<1>(call, begin, end);
    case 2: return BiasActivationRows<2>(call, begin, end);
    case 3: return BiasActivationRows<3>(call, begin, end);
    case 4: return BiasActivationRows<4>(call, begin, end);
    default: return BiasActivationRows<0>(call, begin, end);
  }
}

void BiasActivationGradientOf(const CpuBiasActivationGradient& call, std::int64_t begin, std::int64_t end, float* sums) {
  if (call.derivative != nullptr) return KeptDerivativeRows(call, begin, end, sums);
  switch (call.kind) {
    case 1: return BiasActivationGradientRows<1>(call, begin, end, sums);
    case 2: return BiasActivationGradientRows<2>(call, begin, end, sums);
    case 3: return BiasActivationGradientRows<3>(call, begin, end, sums);
    case 4: return BiasActivationGradientRows<4>(call, begin, end, sums);
    default: return BiasActivationGradientRows<0>(call, begin, end, sums);
  }
}

void ColumnSumRows(const float* x, std::int64_t stride, std::int64_t width, std::int64_t begin, std::int64_t end, float* sums) {
  for (std::int64_t n = begin; n < end; ++n) {
    const float* row = x + n * stride;
    ForVectors(width, [&](std::int64_t c, std::int64_t count) { AddAt(sums + c, LoadAt(row + c, count), count); });
  }
}

double SumOfSquares(const float* x, std::int64_t begin, std::int64_t end) {
  double total = 0.0;
  for (std::int64_t block = begin; block < end; ++block) {
    const float* p = x + block * kNormBlock;
    Vector sums[4] = {};
    for (std::int64_t c = 0; c < kNormBlock; c += 4 * kLanes) {
      for (int i = 0; i < 4; ++i) {
        const Vector value = Load(p + c + i * kLanes);
        sums[i] += value * value;
      }
    }
    total += static_cast<double>(Sum((sums[0] + sums[1]) + (sums[2] + sums[3])));
  }
  return total;
}

// To nearest, ties to even; NaN stays NaN.
inline std::uint16_t Bfloat16(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fc0;
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

inline Vector SquareRoot(Vector x) {
  for (int lane = 0; lane < kLanes; ++lane) x[lane] = __builtin_sqrtf(x[lane]);
  return x;
}

void AdamWElements(const CpuAdamW& call, std::int64_t begin, std::int64_t end) {
  const float keep = 1.0f - call.lr * call.decay, rate = call.lr / call.correction1, inverse_root = 1.0f / call.correction2_root;
  const float new1 = 1.0f - call.beta1, new2 = 1.0f - call.beta2;
  ForVectors(end - begin, [&](std::int64_t c, std::int64_t count) {
    const std::int64_t at = begin + c;
    const Vector g = call.factor * LoadAt(call.gradient + at, count);
    const Vector old_first = LoadAt(call.first_moment + at, count);
    const Vector first = old_first + new1 * (g - old_first);
    const Vector second = call.beta2 * LoadAt(call.second_moment + at, count) + new2 * (g * g);
    const Vector p = keep * LoadAt(call.parameter + at, count) - rate * first / (SquareRoot(second) * inverse_root + call.eps);
    StoreAt(call.first_moment + at, first, count);
    StoreAt(call.second_moment + at, second, count);
    StoreAt(call.parameter + at, p, count);
    if (call.parameter_copy != nullptr) {
      for (std::int64_t lane = 0; lane < count; ++lane) call.parameter_copy[at + lane] = Bfloat16(p[lane]);
    }
  });
}

constexpr CpuStepKernel kStepKernel{CrossEntropyRows, ResidualNormRows, ResidualNormGradientRows, BiasActivationOf,
                                    BiasActivationGradientOf, ColumnSumRows, SumOfSquares, AdamWElements};

}  // namespace
}  // namespace entrain::kernels
