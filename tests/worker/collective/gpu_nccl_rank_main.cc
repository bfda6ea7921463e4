// One rank of the NCCL back end on a real GPU.
//
//   gpu_nccl_rank probe     0 where CUDA sees a device, 77 where not
//   gpu_nccl_rank check     a world of one: every operation on device memory; exit code 0 means all were right
//   gpu_nccl_rank abort     a world of one that aborts: 75
//   gpu_nccl_rank absent    two ranks, of which the second never joins NCCL: the first ends both at its limit
#include <cuda_runtime.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "worker/collective/collective.h"

namespace {

using entrain::collective::Collective;
using entrain::collective::MakeCollective;

constexpr std::int64_t kCount = 100'000;
constexpr std::int64_t kIdBytes = 128;  // of NCCL's id, which the back end broadcasts over MPI

std::vector<float> Numbers() {
  std::vector<float> numbers(kCount);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(i % 1000) * 0.25f;
  return numbers;
}

// A world of one changes nothing, and everything is in order on the streams.
bool Check(Collective& collective) {
  const std::vector<float> numbers = Numbers();
  const std::size_t bytes = numbers.size() * sizeof(float);
  cudaStream_t stream = nullptr;
  float* device = nullptr;
  if (cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) != cudaSuccess || cudaMalloc(&device, bytes) != cudaSuccess) return false;
  collective.SetComputeStream(stream);
  std::vector<float> back(numbers.size());
  bool right = cudaMemcpyAsync(device, numbers.data(), bytes, cudaMemcpyDefault, stream) == cudaSuccess;
  right = right && collective.AllReduceSum(device, kCount)->WaitOn(stream).ok();
  right = right && collective.AllReduceMax(device, kCount).ok();
  right = right && collective.Broadcast(device, static_cast<std::int64_t>(bytes), 0).ok();
  right = right && cudaMemcpyAsync(back.data(), device, bytes, cudaMemcpyDefault, stream) == cudaSuccess;
  right = right && cudaStreamSynchronize(stream) == cudaSuccess;
  right = right && std::memcmp(back.data(), numbers.data(), bytes) == 0;
  collective.SetComputeStream(nullptr);
  cudaFree(device);
  cudaStreamDestroy(stream);
  return right;
}

// Takes part in everything but NCCL.
int StayAway() {
  auto collective = MakeCollective("mpi");
  if (!collective.ok()) return 2;
  std::vector<char> id(kIdBytes);
  if (!(*collective)->Broadcast(id.data(), kIdBytes, 0).ok()) return 2;
  (void)(*collective)->Barrier();  // until the other rank ends the gang
  return 3;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  int gpus = 0;
  if (mode == "probe") return cudaGetDeviceCount(&gpus) == cudaSuccess && gpus > 0 ? 0 : 77;
  const char* rank = std::getenv("OMPI_COMM_WORLD_RANK");
  if (mode == "absent" && rank != nullptr && std::atoi(rank) == 1) return StayAway();
  auto collective = MakeCollective("nccl", {.join = std::chrono::seconds(mode == "absent" ? 3 : 60)});
  if (!collective.ok()) {
    std::fprintf(stderr, "%s\n", collective.status().ToString().c_str());
    return 2;
  }
  if (mode == "abort") (*collective)->Abort(75);
  return Check(**collective) ? 0 : 1;
}
