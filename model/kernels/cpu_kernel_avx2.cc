// Compiled for AVX2 and FMA.
namespace entrain::kernels {
namespace {
constexpr int kLanes = 8;
constexpr int kTileRows = 6;
}  // namespace
}  // namespace entrain::kernels

#include "model/kernels/cpu_kernel_inl.h"

namespace entrain::kernels {

const CpuKernel& CpuKernelAvx2() { return kKernel; }

}  // namespace entrain::kernels
