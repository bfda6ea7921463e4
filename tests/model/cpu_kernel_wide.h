#pragma once

#include "model/kernels/cpu_kernel.h"

namespace entrain::kernels {

const CpuKernel& CpuKernelWide();

}  // namespace entrain::kernels
