// Reductions of tensors: on a GPU they are ordered with the computation, not only with the host's calls.
#pragma once

#include <torch/torch.h>

#include <memory>

#include "worker/collective/collective.h"

namespace entrain::trainer {

// Sums the contiguous float32 tensor over the ranks, in place. It starts after what the calling thread's compute stream holds now.
std::unique_ptr<collective::Work> StartSum(collective::Collective* collective, const torch::Tensor& values);
// What the calling thread computes afterwards may read the result: its compute stream waits on a GPU, the host on a CPU.
absl::Status FinishSum(collective::Work* work, const torch::Tensor& values);

}  // namespace entrain::trainer
