// The kernels around the block programs, and how they are launched. Each .cu file instantiates a part of them, so that they compile beside
// each other.
#pragma once

#include <cuda_runtime.h>

#include "model/kernels/cuda/attention_backward_keys.h"
#include "model/kernels/cuda/attention_backward_queries.h"
#include "model/kernels/cuda/attention_config.h"
#include "model/kernels/cuda/attention_forward.h"
#include "model/kernels/cuda/attention_launch.h"
#include "model/kernels/cuda/attention_rows.h"
#include "model/kernels/cuda/cuda_thread.h"
#include "model/kernels/cuda/simt_math.h"
#include "model/kernels/cuda/tensor_core_math.h"

namespace entrain::kernels::cuda {

// Tile sizes by element type and architecture.
template <typename Math, int kArch, int kWidth>
struct TilesOf : AttentionTiles<kArch, kWidth> {};
template <int kArch, int kWidth>
struct TilesOf<SimtMath, kArch, kWidth> : FloatTiles<kWidth> {};

// A program holds every kernel for sm_80 (and, through its PTX, for newer ones) and for sm_90a, where other tiles are best: each kernel is
// compiled for its own architecture alone.
#if defined(__CUDA_ARCH__)
constexpr int kCompiledArch = __CUDA_ARCH__ == 900 ? 90 : 80;
#else
constexpr int kCompiledArch = 0;
#endif

// Causal blocks of the last queries have most keys: they start first.
template <int kArch, typename Block, typename Config>
__global__ void __launch_bounds__(Config::kThreads) AttentionOverQueries(const __grid_constant__ typename Block::Call call) {
  if constexpr (kArch == kCompiledArch) {
    extern __shared__ __align__(128) unsigned char shared[];
    const BlockPlace place{static_cast<int>(gridDim.x - 1 - blockIdx.x), static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.z)};
    Block::Run(CudaThread(), call, place, shared);
  }
}

template <int kArch, typename Block, typename Config>
__global__ void __launch_bounds__(Config::kThreads) AttentionOverKeys(const __grid_constant__ AttentionBackwardCall call) {
  if constexpr (kArch == kCompiledArch) {
    extern __shared__ __align__(128) unsigned char shared[];
    const BlockPlace place{static_cast<int>(blockIdx.x), static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.z)};
    Block::Run(CudaThread(), call, place, shared);
  }
}

template <typename Block>
__global__ void __launch_bounds__(Block::kThreads) AttentionOverRows(const __grid_constant__ AttentionBackwardCall call) {
  Block::Run(CudaThread(), call, {static_cast<int>(blockIdx.x), static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.z)});
}

inline dim3 GridOf(const AttentionShape& shape, int rows) {
  return dim3(static_cast<unsigned>(TilesFor(shape.tokens, rows)), static_cast<unsigned>(shape.heads),
              static_cast<unsigned>(shape.batch));
}

// Beyond 48 KiB of shared memory a kernel has to be told; once a device and kernel would do, and it costs a microsecond.
template <typename Call>
const char* LaunchKernel(void (*kernel)(Call), const Call& call, dim3 grid, int threads, int shared_bytes, cudaStream_t stream) {
  if (shared_bytes > 48 * 1024) {
    const cudaError_t allowed = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes);
    if (allowed != cudaSuccess) return cudaGetErrorString(allowed);
  }
  kernel<<<grid, threads, shared_bytes, stream>>>(call);
  const cudaError_t launched = cudaGetLastError();
  return launched == cudaSuccess ? nullptr : cudaGetErrorString(launched);
}

// The kernels' instruction sets: 90 where the device is that architecture, else what every device from sm_80 on runs.
inline const char* DeviceArch(int* arch) {
  int device = 0, major = 0;
  cudaError_t code = cudaGetDevice(&device);
  if (code == cudaSuccess) code = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  *arch = major == 9 ? 90 : 80;
  return code == cudaSuccess ? nullptr : cudaGetErrorString(code);
}

template <typename Math, bool kEntropy>
struct ForwardLaunch {
  template <int kArch, int kWidth>
  static const char* Go(const AttentionForwardCall& call, cudaStream_t stream) {
    using Config = typename TilesOf<Math, kArch, kWidth>::Forward;
    using Block = AttentionForward<Math, Config, kEntropy>;
    return LaunchKernel(AttentionOverQueries<kArch, Block, Config>, call, GridOf(call.shape, Config::kOwn), Config::kThreads,
                        Block::kSharedBytes, stream);
  }
};

template <typename Math, bool kEntropy>
struct BackwardLaunch {
  template <int kArch, int kWidth>
  static const char* Go(const AttentionBackwardCall& call, cudaStream_t stream) {
    using Tiles = TilesOf<Math, kArch, kWidth>;
    using Queries = typename Tiles::Queries;
    if constexpr (!Math::kExactMean) {
      using Rows = AttentionRowTerms<typename Math::Element, 4>;
      if (const char* error = Launch<Rows>(call, stream)) return error;
      if (call.dq_sum_BHTW != nullptr) return Fast<kArch, typename Tiles::Keys>(call, stream);
    }
    using Block = AttentionBackwardQueries<Math, Queries, kEntropy>;
    const char* error = LaunchKernel(AttentionOverQueries<kArch, Block, Queries>, call, GridOf(call.shape, Queries::kOwn),
                                     Queries::kThreads, Block::kSharedBytes, stream);
    return error != nullptr ? error : OverKeys<kArch, typename Tiles::Keys, false>(call, stream);
  }

 private:
  template <typename Rows>
  static const char* Launch(const AttentionBackwardCall& call, cudaStream_t stream) {
    return LaunchKernel(AttentionOverRows<Rows>, call, GridOf(call.shape, Rows::kRows), Rows::kThreads, 0, stream);
  }

  template <int kArch, typename Keys, bool kAddDq>
  static const char* OverKeys(const AttentionBackwardCall& call, cudaStream_t stream) {
    using Block = AttentionBackwardKeys<Math, Keys, kEntropy, kAddDq>;
    return LaunchKernel(AttentionOverKeys<kArch, Block, Keys>, call, GridOf(call.shape, Keys::kOwn), Keys::kThreads, Block::kSharedBytes,
                        stream);
  }

  template <int kArch, typename Keys>
  static const char* Fast(const AttentionBackwardCall& call, cudaStream_t stream) {
    if (const char* error = OverKeys<kArch, Keys, true>(call, stream)) return error;
    return Launch<AttentionRoundDq<typename Math::Element, 4>>(call, stream);
  }
};

template <typename Launcher, int kArch, typename Call>
const char* LaunchForWidth(const Call& call, cudaStream_t stream) {
  if (call.shape.width <= 32) return Launcher::template Go<kArch, 32>(call, stream);
  if (call.shape.width <= 64) return Launcher::template Go<kArch, 64>(call, stream);
  if (call.shape.width <= 96) return Launcher::template Go<kArch, 96>(call, stream);
  if (call.shape.width <= kWidestAttentionHead) return Launcher::template Go<kArch, 128>(call, stream);
  return "a head of more than 128 columns";
}

template <typename Launcher, typename Call>
const char* LaunchForDevice(const Call& call, cudaStream_t stream) {
  int arch = 0;
  if (const char* error = DeviceArch(&arch)) return error;
  return arch == 90 ? LaunchForWidth<Launcher, 90>(call, stream) : LaunchForWidth<Launcher, 80>(call, stream);
}

}  // namespace entrain::kernels::cuda
