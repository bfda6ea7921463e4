#include "model/kernels/cuda/attention_kernels.cuh"

namespace entrain::kernels::cuda {

const char* LaunchForwardFloat32(const AttentionForwardCall& call, cudaStream_t stream) {
  return LaunchForDevice<ForwardLaunch<SimtMath, true>>(call, stream);
}

const char* LaunchBackwardFloat32(const AttentionBackwardCall& call, cudaStream_t stream) {
  return LaunchForDevice<BackwardLaunch<SimtMath, true>>(call, stream);
}

}  // namespace entrain::kernels::cuda
