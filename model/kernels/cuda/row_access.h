// What the step's kernels share: numbers of any type in pieces, and sums over a warp or a block in a fixed order.
#pragma once

#include "model/kernels/cuda/block_program.h"

namespace entrain::kernels::cuda {

// Rows in global memory, `stride` elements apart.
template <typename Element>
struct RowsOf {
  Element* data;
  std::int64_t stride;
  ENTRAIN_BLOCK Element* Row(std::int64_t row) const { return data + row * stride; }
};

// kCount neighbouring numbers, as floats; the address is a multiple of their size.
template <typename Element, int kCount>
struct Piece {
  static_assert(sizeof(Element) == 2 && (kCount == 1 || kCount == 4 || kCount == 8), "a piece is one access");
  template <typename Thread>
  static ENTRAIN_BLOCK void Load(const Thread& thread, const Element* from, float (&x)[kCount]) {
    if constexpr (kCount == 1) {
      x[0] = thread.template Unpack<Element>(from->bits).x;
    } else {
      struct alignas(2 * kCount) Words {
        std::uint32_t word[kCount / 2];
      };
      const Words words = *reinterpret_cast<const Words*>(from);
      ENTRAIN_UNROLL
      for (int i = 0; i < kCount / 2; ++i) {
        const Float2 pair = thread.template Unpack<Element>(words.word[i]);
        x[2 * i] = pair.x;
        x[2 * i + 1] = pair.y;
      }
    }
  }
  template <typename Thread>
  static ENTRAIN_BLOCK void Store(const Thread& thread, Element* to, const float (&x)[kCount]) {
    if constexpr (kCount == 1) {
      to->bits = static_cast<std::uint16_t>(thread.template Pack<Element>(x[0], 0.0f));
    } else {
      struct alignas(2 * kCount) Words {
        std::uint32_t word[kCount / 2];
      };
      Words words;
      ENTRAIN_UNROLL
      for (int i = 0; i < kCount / 2; ++i) words.word[i] = thread.template Pack<Element>(x[2 * i], x[2 * i + 1]);
      *reinterpret_cast<Words*>(to) = words;
    }
  }
};

template <int kCount>
struct Piece<float, kCount> {
  template <typename Thread>
  static ENTRAIN_BLOCK void Load(const Thread& /*thread*/, const float* from, float (&x)[kCount]) {
    if constexpr (kCount == 1) {
      x[0] = *from;
    } else {
      ENTRAIN_UNROLL
      for (int i = 0; i < kCount; i += 4) {
        const Float4 four = *reinterpret_cast<const Float4*>(from + i);
        x[i] = four.x;
        x[i + 1] = four.y;
        x[i + 2] = four.z;
        x[i + 3] = four.w;
      }
    }
  }
  template <typename Thread>
  static ENTRAIN_BLOCK void Store(const Thread& /*thread*/, float* to, const float (&x)[kCount]) {
    if constexpr (kCount == 1) {
      *to = x[0];
    } else {
      ENTRAIN_UNROLL
      for (int i = 0; i < kCount; i += 4) *reinterpret_cast<Float4*>(to + i) = Float4{x[i], x[i + 1], x[i + 2], x[i + 3]};
    }
  }
};

template <typename Number, typename Thread>
ENTRAIN_BLOCK Number WarpSum(const Thread& thread, Number x) {
  ENTRAIN_UNROLL
  for (int mask = 16; mask > 0; mask /= 2) x += thread.ShuffleXor(x, mask);
  return x;
}

// The sum over kWarps warps, in every thread. `scratch` holds one number a warp and is free again after the caller's next barrier.
template <int kWarps, typename Number, typename Thread>
ENTRAIN_BLOCK Number BlockSum(const Thread& thread, Number x, Number* scratch) {
  x = WarpSum(thread, x);
  if constexpr (kWarps > 1) {
    if (thread.lane() == 0) scratch[thread.warp()] = x;
    thread.Sync();
    x = scratch[0];
    ENTRAIN_UNROLL
    for (int warp = 1; warp < kWarps; ++warp) x += scratch[warp];
  }
  return x;
}

}  // namespace entrain::kernels::cuda
