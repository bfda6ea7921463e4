// Vectors of kLanes floats, in the compiler's own notation, so that one source serves every instruction set. Included after kLanes is
// defined; everything is local to the including file (cpu_kernel.h says why).
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

namespace entrain::kernels {
namespace {

typedef float Vector __attribute__((vector_size(kLanes * 4)));
typedef std::int32_t Integers __attribute__((vector_size(kLanes * 4)));
typedef float Unaligned __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));
typedef std::uint16_t Halves __attribute__((vector_size(kLanes * 2)));
typedef std::uint16_t UnalignedHalves __attribute__((vector_size(kLanes * 2), aligned(2), may_alias));

// What must become straight-line code for its values to stay in registers.
#define ENTRAIN_INLINE inline __attribute__((always_inline))

ENTRAIN_INLINE Vector Load(const float* p) { return *reinterpret_cast<const Unaligned*>(p); }
ENTRAIN_INLINE void Store(float* p, Vector x) { *reinterpret_cast<Unaligned*>(p) = x; }
// Written so that the compiler broadcasts from memory; x + 0 costs an addition and loses the sign of -0.
template <int... kIndices>
ENTRAIN_INLINE Vector SpreadOver(float x, std::integer_sequence<int, kIndices...>) {
  return Vector{(static_cast<void>(kIndices), x)...};
}
ENTRAIN_INLINE Vector Spread(float x) { return SpreadOver(x, std::make_integer_sequence<int, kLanes>()); }
ENTRAIN_INLINE std::int64_t Least(std::int64_t a, std::int64_t b) { return a < b ? a : b; }
ENTRAIN_INLINE std::int64_t Most(std::int64_t a, std::int64_t b) { return a < b ? b : a; }
ENTRAIN_INLINE std::int64_t RoundUp(std::int64_t n, std::int64_t unit) { return (n + unit - 1) / unit * unit; }

// In this order a NaN in x stays.
ENTRAIN_INLINE Vector Above(Vector x, float floor) { const Vector least = Spread(floor);
  return x < least ? least : x; }
ENTRAIN_INLINE Vector Larger(Vector a, Vector b) { return a < b ? b : a; }
ENTRAIN_INLINE Vector Smaller(Vector a, Vector b) { return a < b ? a : b; }

// The vector turned by `kBy` lanes.
template <int kBy>
ENTRAIN_INLINE Vector Turned(Vector x) {
  Integers order{};
  for (int lane = 0; lane < kLanes; ++lane) order[lane] = lane ^ kBy;
  return __builtin_shuffle(x, order);
}
template <int kBy = kLanes / 2>
ENTRAIN_INLINE float Sum(Vector x) {
  x += Turned<kBy>(x);
  if constexpr (kBy > 1) return Sum<kBy / 2>(x);
  return x[0];
}
template <int kBy = kLanes / 2>
ENTRAIN_INLINE float Largest(Vector x) {
  x = Larger(x, Turned<kBy>(x));
  if constexpr (kBy > 1) return Largest<kBy / 2>(x);
  return x[0];
}

// Lanes below `count`.
ENTRAIN_INLINE Integers Before(std::int64_t count) {
  Integers index{};
  for (int lane = 0; lane < kLanes; ++lane) index[lane] = lane;
  return index < static_cast<std::int32_t>(count);
}

// Where e^x is taken to be 0: the power of two below has no bits left there.
constexpr float kVanished = -88.0f;

// e^x for x in [kVanished, 0], within 2 ulp; 1 at 0 and 0 at kVanished, both exactly; NaN stays NaN.
ENTRAIN_INLINE Vector Exp(Vector x) {
  constexpr float kRound = 12582912.0f + 127.0f;  // 1.5 * 2^23 makes the sum an integer in the low bits; 127 is the exponent's bias
  const Vector shifted = x * 1.44269504f + kRound;
  const Vector whole = shifted - kRound;
  const Vector rest = x - whole * 0.69314718f;
  Vector sum = Spread(1.3814173661e-3f);
  sum = sum * rest + 8.3689218312e-3f;
  sum = sum * rest + 4.1668407983e-2f;
  sum = sum * rest + 1.6666518938e-1f;
  sum = sum * rest + 4.9999993333e-1f;
  sum = sum * rest + 1.0f;
  sum = sum * rest + 1.0f;
  return sum * reinterpret_cast<Vector>(reinterpret_cast<Integers>(shifted) << 23);
}

// bfloat16 is the upper half of a float.
ENTRAIN_INLINE Vector LoadHalves(const std::uint16_t* p) {
  const Halves halves = *reinterpret_cast<const UnalignedHalves*>(p);
  return reinterpret_cast<Vector>(__builtin_convertvector(halves, Integers) << 16);
}
ENTRAIN_INLINE float FromHalf(std::uint16_t half) {
  const std::uint32_t bits = static_cast<std::uint32_t>(half) << 16;
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}
// To nearest, ties to even; NaN becomes a quiet NaN.
ENTRAIN_INLINE std::uint16_t ToHalf(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  if (x != x) return 0x7fc0;
  return static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
ENTRAIN_INLINE void StoreHalves(std::uint16_t* p, Vector x) {
  const Integers bits = reinterpret_cast<Integers>(x);
  const Integers rounded = ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) & 0xffff;
  const Integers safe = x == x ? rounded : Integers{} + 0x7fc0;
  *reinterpret_cast<UnalignedHalves*>(p) = __builtin_convertvector(safe, Halves);
}

}  // namespace
}  // namespace entrain::kernels
