// What the kernels' sources need to be compiled twice: by nvcc for the GPU, and by the host compiler for the tests' emulation of a thread
// block (tests/model/cuda/block_emulator.h). A kernel is a template over its thread: CudaThread on the GPU, EmulatedThread in a test. Both
// offer the same operations, so that every index, mask and barrier that runs on a GPU is executed by ordinary tests:
//
//     index(), lane(), warp()                  place in the block
//     Sync(), SyncWarp()                       barriers of the block and of the warp
//     ShuffleXor(x, mask), Shuffle(x, lane)    exchange within the warp
//     LoadMatrix4[Transposed](r, address)      ldmatrix.x4: four 8x8 matrices of 16-bit numbers, row addresses given by the lanes
//     Mma<Element>(c, a, b0, b1)               mma.sync.m16n8k16, float32 accumulation
//     Pack<Element>(low, high), Unpack<Element>(word)   two floats rounded into one register, and back
//     CopyAsync16(to, from, inside)            16 bytes of global memory into shared memory, or zeros; complete after
//     CommitCopies(), WaitCopies<n>()          all but the newest n committed groups, and then a barrier
//     Exp2(x), AtomicAdd(p, x), AtomicMaxNonNegative(p, x)
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define ENTRAIN_BLOCK __device__ __forceinline__
#define ENTRAIN_EVERYWHERE __host__ __device__
#define ENTRAIN_UNROLL _Pragma("unroll")
#define ENTRAIN_NO_UNROLL _Pragma("unroll 1")
#else
#define ENTRAIN_BLOCK inline
#define ENTRAIN_EVERYWHERE
#define ENTRAIN_UNROLL
#define ENTRAIN_NO_UNROLL
#endif

namespace entrain::kernels::cuda {

constexpr int kWarpLanes = 32;

// 16-bit numbers as they lie in memory.
struct Bf16 {
  std::uint16_t bits;
};
struct Fp16 {
  std::uint16_t bits;
};

struct alignas(16) Float4 {
  float x, y, z, w;
};
struct alignas(8) Float2 {
  float x, y;
};
struct alignas(16) Words4 {
  std::uint32_t word[4];
};

}  // namespace entrain::kernels::cuda
