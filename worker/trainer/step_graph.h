// A step's work on a GPU as one CUDA graph: a single launch instead of a thousand. On a CPU, or where it cannot be captured, the work is simply
// done.
//
// The work must be a function of device memory alone: what changes from call to call is written there before it, results are read after
// it. Memory that it uses must live as long as the graph (tensors that it allocates do: they come from the graph's own pool). The first
// calls run it directly, so that libraries choose their algorithms and allocate their workspaces; then it is captured, and the same
// kernels with the same arguments are replayed: the bits are those of the direct calls.
#pragma once

#include <torch/torch.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"

namespace entrain::trainer {

class StepGraph {
 public:
  // `enabled` false: never captures.
  StepGraph(torch::Device device, bool enabled);
  ~StepGraph();
  StepGraph(const StepGraph&) = delete;
  StepGraph& operator=(const StepGraph&) = delete;

  // Calls `prepare`, then does `work`, both on the graph's own stream and after everything that the default stream holds now. `work` is
  // called to be run or to be captured, or not at all where a capture of it is replayed; its status is the call's. Work that cannot be
  // captured is run directly from then on, and that is logged once.
  absl::Status Run(const std::function<void()>& prepare, const std::function<absl::Status()>& work);
  // The next call captures anew: something that is not in device memory has changed.
  void Forget();
  bool is_captured() const;

  // The host waits until the graph's stream has done all of it. DEADLINE_EXCEEDED after `limit`, UNAVAILABLE for an error of the GPU.
  absl::Status WaitForResults(std::chrono::nanoseconds limit) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;  // null on a CPU
};

// Starts a copy into pinned memory (or the other way) on the calling thread's current stream; a plain copy between tensors of the CPU. May be
// captured: the pinned tensor's memory must stay where it is.
void StartCopy(const torch::Tensor& to, const torch::Tensor& from);

}  // namespace entrain::trainer
