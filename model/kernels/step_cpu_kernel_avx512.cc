// Compiled for AVX-512.
namespace entrain::kernels {
namespace {
constexpr int kLanes = 16;
}
}  // namespace entrain::kernels

#include "model/kernels/step_cpu_kernel_inl.h"

namespace entrain::kernels {

const CpuStepKernel& CpuStepKernelAvx512() { return kStepKernel; }

}  // namespace entrain::kernels
