#include "model/kernels/cuda/attention_kernels.cuh"

namespace entrain::kernels::cuda {

const char* LaunchForwardBf16(const AttentionForwardCall& call, cudaStream_t stream) {
  return LaunchForDevice<ForwardLaunch<TensorCoreMath<Bf16>, true>>(call, stream);
}

}  // namespace entrain::kernels::cuda
