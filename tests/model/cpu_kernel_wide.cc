// The kernel of sixteen lanes compiled for AVX2, so that what AVX-512 machines run is tested on those without.
namespace entrain::kernels {
namespace {
constexpr int kLanes = 16;
constexpr int kTileRows = 12;
}  // namespace
}  // namespace entrain::kernels

#include "model/kernels/cpu_kernel_inl.h"
#include "tests/model/cpu_kernel_wide.h"

namespace entrain::kernels {

const CpuKernel& CpuKernelWide() { return kKernel; }

}  // namespace entrain::kernels
