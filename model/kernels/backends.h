// The back ends of this build; see entropy_attention.h for their signature.
#pragma once

#include "model/kernels/entropy_attention.h"

namespace entrain::kernels {

// Batched ATen operators in the tensors' own precision; any device, any head width.
const AttentionBackend& ReferenceBackend();
// float32 on the CPU, threads over heads, memory linear in T; only where the machine has the instructions.
const AttentionBackend& Avx2Backend();
const AttentionBackend& Avx512Backend();
// Plain loops in double precision: slow, and simple enough to be checked by reading.
const AttentionBackend& LoopsBackend();

}  // namespace entrain::kernels
