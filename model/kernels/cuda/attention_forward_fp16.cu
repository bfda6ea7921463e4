#include "model/kernels/cuda/attention_kernels.cuh"

namespace entrain::kernels::cuda {

const char* LaunchForwardFp16(const AttentionForwardCall& call, cudaStream_t stream) {
  return LaunchForDevice<ForwardLaunch<TensorCoreMath<Fp16>, true>>(call, stream);
}

}  // namespace entrain::kernels::cuda
