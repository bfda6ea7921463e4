// Compiled for AVX-512 (F, VL, DQ, BW).
namespace entrain::kernels {
namespace {
constexpr int kLanes = 16;
}
}  // namespace entrain::kernels

#include "model/kernels/cpu_kernel_inl.h"

namespace entrain::kernels {

const CpuKernel& CpuKernelAvx512() {
  static constexpr CpuKernel kernel{ScratchFloats, Forward, Backward};
  return kernel;
}

}  // namespace entrain::kernels
