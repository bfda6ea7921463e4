#include "model/kernels/cuda/attention_kernels.cuh"

namespace entrain::kernels::cuda {

const char* LaunchBackwardBf16(const AttentionBackwardCall& call, cudaStream_t stream) {
  return LaunchForDevice<BackwardLaunch<TensorCoreMath<Bf16>, true>>(call, stream);
}

}  // namespace entrain::kernels::cuda
