#include "worker/trainer/device.h"

#include <torch/torch.h>

#include <cstdlib>

#include "base/strings.h"

#ifdef ENTRAIN_CUDA
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#endif

namespace entrain::trainer {
namespace {

absl::StatusOr<int> GpuOf(const attempt::AttemptSpec& spec, int rank) {
  const auto place = static_cast<std::size_t>((rank - spec.first_rank) % spec.ranks_per_machine);
  if (spec.slots.empty()) return static_cast<int>(place);
  if (place < spec.slots.size()) return spec.slots[place];
  return absl::InvalidArgumentError(StrCat("the attempt has ", spec.slots.size(), " GPU slots, rank ", rank, " needs number ", place));
}

#ifdef ENTRAIN_CUDA

absl::Status UseGpu(int gpu) {
  // cuBLAS repeats its bits only with a workspace of fixed size; it reads this when it starts.
  ::setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
  int count = 0;
  cudaError_t code = cudaGetDeviceCount(&count);
  if (code == cudaSuccess && gpu >= count) return absl::UnavailableError(StrCat("GPU ", gpu, " is not there: CUDA sees ", count));
  if (code == cudaSuccess) code = cudaSetDevice(gpu);
  if (code == cudaSuccess) return absl::OkStatus();
  return absl::UnavailableError(StrCat("use GPU ", gpu, ": ", cudaGetErrorString(code)));
}

std::string GpuModel(int gpu) {
  cudaDeviceProp properties{};
  if (cudaGetDeviceProperties(&properties, gpu) != cudaSuccess) return "unknown GPU";
  return properties.name;
}

#else

absl::Status UseGpu(int) {
  return absl::InvalidArgumentError(
      "device is cuda (GPU slots), but this entrain-trainer was built without CUDA; run scripts/setup --cuda and build with "
      "-DENTRAIN_CUDA=ON");
}

std::string GpuModel(int) { return "unknown GPU"; }

#endif

}  // namespace

void AskForHugePages() {
  // LibTorch reads it at its first allocation, and then aligns and advises blocks of 2 MiB and more.
  ::setenv("THP_MEM_ALLOC_ENABLE", "1", /*overwrite=*/0);
}

absl::StatusOr<std::string> SelectDevice(const attempt::AttemptSpec& spec, int rank) {
  if (spec.device == "cpu") return spec.device;
  if (spec.device != "cuda") return absl::InvalidArgumentError(StrCat("device is '", spec.device, "'; known are cpu and cuda"));
  if (spec.collective == "mpi") {
    return absl::InvalidArgumentError("collective mpi adds gradients in host memory; device cuda needs nccl, or single for one rank");
  }
  const absl::StatusOr<int> gpu = GpuOf(spec, rank);
  if (!gpu.ok()) return gpu.status();
  if (absl::Status status = UseGpu(*gpu); !status.ok()) return status;
  return StrCat("cuda:", *gpu);
}

std::string HardwareModel(const std::string& device) {
  const torch::Device parsed(device);
  return parsed.is_cuda() ? GpuModel(parsed.index()) : at::get_cpu_capability();
}

void* ComputeStream() {
#ifdef ENTRAIN_CUDA
  return c10::cuda::getCurrentCUDAStream().stream();
#else
  return nullptr;
#endif
}

}  // namespace entrain::trainer
