// Compiled for AVX2 and FMA.
namespace entrain::kernels {
namespace {
constexpr int kLanes = 8;
}
}  // namespace entrain::kernels

#include "model/kernels/cpu_kernel_inl.h"

namespace entrain::kernels {

const CpuKernel& CpuKernelAvx2() {
  static constexpr CpuKernel kernel{ScratchFloats, Forward, Backward};
  return kernel;
}

}  // namespace entrain::kernels
