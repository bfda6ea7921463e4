// Compiled for AVX2 and FMA.
namespace entrain::kernels {
namespace {
constexpr int kLanes = 8;
}
}  // namespace entrain::kernels

#include "model/kernels/step_cpu_kernel_inl.h"

namespace entrain::kernels {

const CpuStepKernel& CpuStepKernelAvx2() { return kStepKernel; }

}  // namespace entrain::kernels
