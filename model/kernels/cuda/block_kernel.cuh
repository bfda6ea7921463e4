// Block programs with a fixed amount of shared memory as CUDA kernels.
#pragma once

#include <cuda_runtime.h>

#include "model/kernels/cuda/attention_call.h"
#include "model/kernels/cuda/cuda_thread.h"

namespace entrain::kernels::cuda {

template <typename Block>
__global__ void __launch_bounds__(Block::kThreads) RunBlocks(const __grid_constant__ typename Block::Call call) {
  __shared__ __align__(16) unsigned char shared[Block::kSharedBytes];
  Block::Run(CudaThread(), call, {static_cast<int>(blockIdx.x), static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.z)}, shared);
}

// For those that share rows among the blocks of the grid's first or second dimension.
template <typename Block>
__global__ void __launch_bounds__(Block::kThreads) RunSharingBlocks(const __grid_constant__ typename Block::Call call, int blocks) {
  __shared__ __align__(16) unsigned char shared[Block::kSharedBytes];
  const BlockPlace place{static_cast<int>(blockIdx.x), static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.z)};
  Block::Run(CudaThread(), call, place, blocks, shared);
}

inline const char* LastError() {
  const cudaError_t launched = cudaGetLastError();
  return launched == cudaSuccess ? nullptr : cudaGetErrorString(launched);
}

template <typename Block>
const char* Launch(const typename Block::Call& call, int blocks, cudaStream_t stream) {
  if (blocks == 0) return nullptr;
  RunBlocks<Block><<<static_cast<unsigned>(blocks), Block::kThreads, 0, stream>>>(call);
  return LastError();
}

template <typename Block>
const char* LaunchSharing(const typename Block::Call& call, int x, int y, int sharing, cudaStream_t stream) {
  if (x == 0 || y == 0) return nullptr;
  RunSharingBlocks<Block><<<dim3(static_cast<unsigned>(x), static_cast<unsigned>(y)), Block::kThreads, 0, stream>>>(call, sharing);
  return LastError();
}

}  // namespace entrain::kernels::cuda
