// Compiled for AVX-512.
namespace entrain::kernels {
namespace {
constexpr int kLanes = 16;
constexpr int kTileRows = 12;
}  // namespace
}  // namespace entrain::kernels

#include "model/kernels/cpu_kernel_inl.h"

namespace entrain::kernels {

const CpuKernel& CpuKernelAvx512() { return kKernel; }

}  // namespace entrain::kernels
