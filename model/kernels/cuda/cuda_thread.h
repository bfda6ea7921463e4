// One thread of a CUDA block; see block_program.h. Included by .cu files alone.
#pragma once

#include "model/kernels/cuda/block_program.h"

namespace entrain::kernels::cuda {

struct CudaThread {
  __device__ __forceinline__ int index() const { return static_cast<int>(threadIdx.x); }
  __device__ __forceinline__ int lane() const { return static_cast<int>(threadIdx.x & 31u); }
  __device__ __forceinline__ int warp() const { return static_cast<int>(threadIdx.x >> 5); }
  __device__ __forceinline__ void Sync() const { __syncthreads(); }
  __device__ __forceinline__ void SyncWarp() const { __syncwarp(); }

  __device__ __forceinline__ float ShuffleXor(float x, int mask) const { return __shfl_xor_sync(0xffffffffu, x, mask); }
  __device__ __forceinline__ double ShuffleXor(double x, int mask) const { return __shfl_xor_sync(0xffffffffu, x, mask); }
  __device__ __forceinline__ float Shuffle(float x, int lane) const { return __shfl_sync(0xffffffffu, x, lane); }

  // ex2.approx: 2 ulp; exact at 0.
  __device__ __forceinline__ float Exp2(float x) const {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
  }

  __device__ __forceinline__ void LoadMatrix4(std::uint32_t (&r)[4], const void* row) const {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(SharedAddress(row))
                 : "memory");
  }
  __device__ __forceinline__ void LoadMatrix4Transposed(std::uint32_t (&r)[4], const void* row) const {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(SharedAddress(row))
                 : "memory");
  }

  template <typename Element>
  __device__ __forceinline__ void Mma(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) const;
  // `low` goes into the lower half of the register, which is the lower address in memory.
  template <typename Element>
  __device__ __forceinline__ std::uint32_t Pack(float low, float high) const;
  template <typename Element>
  __device__ __forceinline__ Float2 Unpack(std::uint32_t packed) const;

  __device__ __forceinline__ void CopyAsync16(void* to, const void* from, bool inside) const {
    const int bytes = inside ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(SharedAddress(to)), "l"(from), "r"(bytes) : "memory");
  }
  __device__ __forceinline__ void CommitCopies() const { asm volatile("cp.async.commit_group;" ::: "memory"); }
  template <int kNewest>
  __device__ __forceinline__ void WaitCopies() const {
    asm volatile("cp.async.wait_group %0;" ::"n"(kNewest) : "memory");
  }

  __device__ __forceinline__ void AtomicAdd(float* place, float x) const { atomicAdd(place, x); }
  // Order among non-negative floats, and of NaN above them, is that of their bits.
  __device__ __forceinline__ void AtomicMaxNonNegative(float* place, float x) const {
    atomicMax(reinterpret_cast<unsigned int*>(place), __float_as_uint(x));
  }

 private:
  static __device__ __forceinline__ std::uint32_t SharedAddress(const void* pointer) {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
  }
};

template <>
__device__ __forceinline__ void CudaThread::Mma<Bf16>(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                                      std::uint32_t b1) const {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

template <>
__device__ __forceinline__ void CudaThread::Mma<Fp16>(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                                      std::uint32_t b1) const {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

template <>
__device__ __forceinline__ std::uint32_t CudaThread::Pack<Bf16>(float low, float high) const {
  std::uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

template <>
__device__ __forceinline__ std::uint32_t CudaThread::Pack<Fp16>(float low, float high) const {
  std::uint32_t packed;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

template <>
__device__ __forceinline__ Float2 CudaThread::Unpack<Bf16>(std::uint32_t packed) const {
  return Float2{__uint_as_float(packed << 16), __uint_as_float(packed & 0xffff0000u)};
}

template <>
__device__ __forceinline__ Float2 CudaThread::Unpack<Fp16>(std::uint32_t packed) const {
  Float2 pair;
  asm("{.reg .f16 low, high; mov.b32 {low, high}, %2; cvt.f32.f16 %0, low; cvt.f32.f16 %1, high;}"
      : "=f"(pair.x), "=f"(pair.y)
      : "r"(packed));
  return pair;
}

}  // namespace entrain::kernels::cuda
