// The back ends of this build; see entropy_attention.h for their signature.
#pragma once

#include "model/kernels/entropy_attention.h"

namespace entrain::kernels {

// Batched ATen operators in the tensors' own precision; any device, any head width.
const AttentionBackend& ReferenceBackend();
// float32 and bfloat16 on the CPU, threads, memory linear in T; only where the machine has the instructions.
const AttentionBackend& Avx2Backend();
const AttentionBackend& Avx512Backend();
#ifdef ENTRAIN_CUDA
// bfloat16 and float16 on tensor cores, float32 without; heads of up to 128 columns, sm_80 and newer, memory linear in T. What it launches
// can be captured in a CUDA graph.
const AttentionBackend& CudaBackend();
#endif
// Plain loops in double precision: slow, and simple enough to be checked by reading.
const AttentionBackend& LoopsBackend();

// What ENTRAIN_CPU_ISA asks for, empty if nothing; an error if this machine cannot do it or the word is unknown.
std::string_view ForcedCpuPath();

// The parts of a call that every form of the operator shares.
const AttentionBackend& RequireAttentionBackend(std::string_view name, const AttentionInputs& inputs);
double AttentionScale(double scale, std::int64_t head_width);
AttentionOutputs AllocateAttentionOutputs(const AttentionInputs& inputs, torch::Tensor out_BHTD, bool entropy);

}  // namespace entrain::kernels
