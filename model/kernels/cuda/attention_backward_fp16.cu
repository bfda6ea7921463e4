#include "model/kernels/cuda/attention_kernels.cuh"

namespace entrain::kernels::cuda {

const char* LaunchBackwardFp16(const AttentionBackwardCall& call, cudaStream_t stream) {
  return LaunchForDevice<BackwardLaunch<TensorCoreMath<Fp16>, true>>(call, stream);
}

}  // namespace entrain::kernels::cuda
