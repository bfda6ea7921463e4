#include "model/kernels/cuda/attention_launch.h"

namespace entrain::kernels::cuda {

// One in each .cu file.
const char* LaunchForwardBf16(const AttentionForwardCall& call, CUstream_st* stream);
const char* LaunchForwardFp16(const AttentionForwardCall& call, CUstream_st* stream);
const char* LaunchForwardFloat32(const AttentionForwardCall& call, CUstream_st* stream);
const char* LaunchPlainForwardBf16(const AttentionForwardCall& call, CUstream_st* stream);
const char* LaunchBackwardBf16(const AttentionBackwardCall& call, CUstream_st* stream);
const char* LaunchBackwardFp16(const AttentionBackwardCall& call, CUstream_st* stream);
const char* LaunchBackwardFloat32(const AttentionBackwardCall& call, CUstream_st* stream);
const char* LaunchPlainBackwardBf16(const AttentionBackwardCall& call, CUstream_st* stream);

const char* LaunchAttentionForward(AttentionType type, const AttentionForwardCall& call, bool entropy, CUstream_st* stream) {
  switch (type) {
    case AttentionType::kBf16: return entropy ? LaunchForwardBf16(call, stream) : LaunchPlainForwardBf16(call, stream);
    case AttentionType::kFp16: return LaunchForwardFp16(call, stream);
    case AttentionType::kFloat32: return LaunchForwardFloat32(call, stream);
  }
  return "an unknown element type";
}

const char* LaunchAttentionBackward(AttentionType type, const AttentionBackwardCall& call, bool entropy, CUstream_st* stream) {
  switch (type) {
    case AttentionType::kBf16: return entropy ? LaunchBackwardBf16(call, stream) : LaunchPlainBackwardBf16(call, stream);
    case AttentionType::kFp16: return LaunchBackwardFp16(call, stream);
    case AttentionType::kFloat32: return LaunchBackwardFloat32(call, stream);
  }
  return "an unknown element type";
}

}  // namespace entrain::kernels::cuda
