// What turns a CpuKernel into an attention back end: threads, strides, storage. Apart from cpu.cc so that a test can run the algorithm of
// an instruction set that its machine lacks, compiled for one that it has.
#pragma once

#include "model/kernels/cpu_kernel.h"
#include "model/kernels/entropy_attention.h"

namespace entrain::kernels {

// float32 or bfloat16 on the CPU, heads up to 256 wide, the numbers of a row adjacent.
bool FitsCpuKernel(const AttentionInputs& inputs);

// Work is shared by head and, where heads are few, by ranges of queries. The ranges depend on the sizes alone and their sums are taken in
// order, so that the results have the same bits with any number of threads.
void ForwardWith(const CpuKernel& kernel, const AttentionInputs& inputs, AttentionOutputs& outputs);
void BackwardWith(const CpuKernel& kernel, const AttentionInputs& inputs, const AttentionOutputs& outputs,
                  const AttentionOutputGradients& output_gradients, AttentionInputGradients& gradients);

template <const CpuKernel& (*kKernel)()>
AttentionBackend CpuBackend(std::string_view name, bool (*supports)(const AttentionInputs&)) {
  return {name, supports,
          [](const AttentionInputs& inputs, AttentionOutputs& outputs) { ForwardWith(kKernel(), inputs, outputs); },
          [](const AttentionInputs& inputs, const AttentionOutputs& outputs, const AttentionOutputGradients& output_gradients,
             AttentionInputGradients& gradients) { BackwardWith(kKernel(), inputs, outputs, output_gradients, gradients); }};
}

}  // namespace entrain::kernels
