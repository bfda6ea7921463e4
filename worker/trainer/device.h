// Where a rank computes: the CPU, or one GPU of its machine. No torch in this header.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "worker/attempt/attempt_folder.h"

namespace entrain::trainer {

// "cpu", or "cuda:<i>" where i is the slot of the rank's place on its machine; a folder without slots counts GPUs from 0. Makes that GPU
// the calling thread's current one, so it comes before the collective, which joins with the current one. May be repeated.
// INVALID_ARGUMENT: the spec does not fit this build (then it names the remedy) or itself. UNAVAILABLE: the GPU is not there.
absl::StatusOr<std::string> SelectDevice(const attempt::AttemptSpec& spec, int rank);

// The hardware under which the same program gives the same bits: the CPU's instruction set, or the GPU's model.
std::string HardwareModel(const std::string& device);

// Large tensors on the CPU lie in huge pages from now on, where the kernel gives them on request: a step misses the TLB less, most of all in a
// virtual machine. Before the first tensor; a THP_MEM_ALLOC_ENABLE in the environment goes before it.
void AskForHugePages();

// The CUDA stream that holds the calling thread's computation, a cudaStream_t; null stands for CUDA's default stream, and on a CPU.
void* ComputeStream();

}  // namespace entrain::trainer
