// Launches of the attention kernels. Every call puts its kernels on the stream and returns; nothing here waits, allocates or reads results,
// so that a CUDA graph can capture it. Needs no CUDA header.
#pragma once

#include "model/kernels/cuda/attention_call.h"

struct CUstream_st;

namespace entrain::kernels::cuda {

enum class AttentionType { kFloat32, kBf16, kFp16 };

constexpr int kWidestAttentionHead = 128;

// The error's text, or null. `entropy` false: the instantiation that neither measures entropy nor lets a gradient through it, for
// comparison; bf16 only.
const char* LaunchAttentionForward(AttentionType type, const AttentionForwardCall& call, bool entropy, CUstream_st* stream);
// With call.dq_sum_BHTW null the bits repeat from call to call; always so for float32.
const char* LaunchAttentionBackward(AttentionType type, const AttentionBackwardCall& call, bool entropy, CUstream_st* stream);

}  // namespace entrain::kernels::cuda
