#include "model/kernels/cuda/attention_kernels.cuh"

namespace entrain::kernels::cuda {

// The same kernels compiled without entropy, against which its cost is measured.
const char* LaunchPlainForwardBf16(const AttentionForwardCall& call, cudaStream_t stream) {
  return LaunchForDevice<ForwardLaunch<TensorCoreMath<Bf16>, false>>(call, stream);
}

const char* LaunchPlainBackwardBf16(const AttentionBackwardCall& call, cudaStream_t stream) {
  return LaunchForDevice<BackwardLaunch<TensorCoreMath<Bf16>, false>>(call, stream);
}

}  // namespace entrain::kernels::cuda
