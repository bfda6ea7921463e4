// One rank of the NCCL back end's test, over the library in host_nccl/. "Device memory" is what its cudaMalloc gives.
//
//   nccl_rank check WORLD     every operation against values computed alone; exit code 0 means all were right
//   nccl_rank reduce WORLD    reductions until the gang ends; 3 when all of them came back
//   nccl_rank freeze WORLD    the same, and the last rank stops like a frozen machine after the third
//   nccl_rank abort WORLD     the last rank aborts while the others wait in a reduction
//
// ENTRAIN_TEST_JOIN_MS and ENTRAIN_TEST_OPERATION_MS are the back end's limits.
#include <cuda_runtime.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "worker/collective/collective.h"

namespace {

using entrain::collective::Collective;
using entrain::collective::Work;

constexpr int kReductions = 20;
int failures = 0;

void Expect(bool condition, const std::string& what) {
  if (condition) return;
  ++failures;
  std::fprintf(stderr, "wrong: %s\n", what.c_str());
}

class DeviceFloats {
 public:
  explicit DeviceFloats(std::int64_t count) : count_(count) {
    void* pointer = nullptr;
    cudaMalloc(&pointer, static_cast<std::size_t>(count) * sizeof(float));
    data_ = static_cast<float*>(pointer);
  }
  ~DeviceFloats() { cudaFree(data_); }
  float* data() { return data_; }
  std::int64_t count() const { return count_; }

 private:
  float* data_;
  std::int64_t count_;
};

// What a step leaves on the computation's stream: slow work that fills the buffer.
struct Fill {
  float* data;
  std::int64_t count;
  float value;
};
void RunFill(void* data) {
  const auto* fill = static_cast<const Fill*>(data);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  for (std::int64_t i = 0; i < fill->count; ++i) fill->data[i] = fill->value + static_cast<float>(i % 7);
}

struct Compare {
  const float* data;
  std::int64_t count;
  float value;
  int wrong = 0;
};
void RunCompare(void* data) {
  auto* compare = static_cast<Compare*>(data);
  for (std::int64_t i = 0; i < compare->count; ++i) compare->wrong += compare->data[i] != compare->value + static_cast<float>(i % 7) ? 1 : 0;
}

// The reduction starts after the stream's earlier work, and the stream's later work after the reduction, without the host waiting.
void CheckOrderOnStreams(Collective& collective) {
  cudaStream_t stream = nullptr;
  cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  collective.SetComputeStream(stream);
  const float world = static_cast<float>(collective.world_size());
  for (const std::int64_t count : {1, 1000, 300'000}) {
    DeviceFloats buffer(count);
    Fill fill{buffer.data(), count, 0.0f};
    cudaLaunchHostFunc(stream, RunFill, &fill);
    Expect(collective.AllReduceMax(buffer.data(), count).ok(), "status of max");
    Compare compare{buffer.data(), count, 0.0f};
    RunCompare(&compare);
    Expect(compare.wrong == 0, "max follows the computation");
    Fill ones{buffer.data(), count, 1.0f};
    cudaLaunchHostFunc(stream, RunFill, &ones);
    const std::unique_ptr<Work> work = collective.AllReduceSum(buffer.data(), count);
    Expect(work->WaitOn(stream).ok(), "status of a sum waited for on the stream");
    Compare sums{buffer.data(), count, 0.0f};
    cudaLaunchHostFunc(
        stream,
        [](void* data) {
          auto* compared = static_cast<Compare*>(data);
          for (std::int64_t i = 0; i < compared->count; ++i) {
            compared->wrong += compared->data[i] != compared->value * (1.0f + static_cast<float>(i % 7)) ? 1 : 0;
          }
        },
        &sums);
    sums.value = world;
    cudaStreamSynchronize(stream);
    Expect(sums.wrong == 0, "sum of " + std::to_string(count) + " follows the computation, and what follows sees it");
  }
  collective.SetComputeStream(nullptr);
  cudaStreamDestroy(stream);
}

void CheckManyAtOnce(Collective& collective) {
  std::vector<std::unique_ptr<DeviceFloats>> buffers;
  std::vector<std::unique_ptr<Work>> works;
  for (int i = 0; i < 8; ++i) {
    buffers.push_back(std::make_unique<DeviceFloats>(1 + i * 5000));
    for (std::int64_t j = 0; j < buffers.back()->count(); ++j) buffers.back()->data()[j] = static_cast<float>(collective.rank() + i);
    works.push_back(collective.AllReduceSum(buffers.back()->data(), buffers.back()->count()));
  }
  const int ranks = collective.world_size();
  for (int i = 0; i < 8; ++i) {
    Expect(works[static_cast<std::size_t>(i)]->Wait().ok(), "status of one of several");
    const float expected = static_cast<float>(ranks * (ranks - 1) / 2 + ranks * i);
    DeviceFloats& buffer = *buffers[static_cast<std::size_t>(i)];
    Expect(buffer.data()[0] == expected && buffer.data()[buffer.count() - 1] == expected, "several reductions under way");
  }
}

void CheckBroadcastAndHost(Collective& collective) {
  const int root = collective.world_size() - 1;
  DeviceFloats buffer(5001);
  for (std::int64_t i = 0; i < buffer.count(); ++i) buffer.data()[i] = static_cast<float>(collective.rank());
  Expect(collective.Broadcast(buffer.data(), buffer.count() * 4, root).ok(), "status of broadcast");
  Expect(buffer.data()[0] == static_cast<float>(root) && buffer.data()[5000] == static_cast<float>(root), "broadcast of device memory");
  float host[2] = {1.0f, static_cast<float>(collective.rank())};
  Expect(collective.AllReduceSum(host, 2)->Wait().ok() && host[0] == static_cast<float>(collective.world_size()), "host memory over MPI");
}

int Reduce(Collective& collective, bool freezes) {
  DeviceFloats buffer(1000);
  for (int i = 0; i < kReductions; ++i) {
    if (freezes && i == 3 && collective.rank() == collective.world_size() - 1) ::raise(SIGSTOP);
    if (const absl::Status status = collective.AllReduceSum(buffer.data(), 1000)->Wait(); !status.ok()) {
      std::fprintf(stderr, "rank %d: %s\n", collective.rank(), std::string(status.message()).c_str());
      ::pause();  // the watchdog ends this rank: nothing else would
    }
  }
  return 3;
}

std::chrono::milliseconds LimitOf(const char* name, std::chrono::milliseconds otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::chrono::milliseconds(std::atoi(text));
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  const int world_size = argc > 2 ? std::atoi(argv[2]) : 1;
  auto collective = entrain::collective::MakeCollective(
      "nccl", {.join = LimitOf("ENTRAIN_TEST_JOIN_MS", std::chrono::minutes(1)), .operation = std::chrono::minutes(1)});
  if (!collective.ok()) {
    std::fprintf(stderr, "%s\n", collective.status().ToString().c_str());
    return 2;
  }
  Expect((*collective)->world_size() == world_size, "world size");
  (*collective)->SetOperationLimit(LimitOf("ENTRAIN_TEST_OPERATION_MS", std::chrono::minutes(1)));
  if (mode == "reduce" || mode == "freeze") return Reduce(**collective, mode == "freeze");
  if (mode == "abort") {
    if ((*collective)->rank() == world_size - 1) (*collective)->Abort(75);
    return Reduce(**collective, false);
  }
  for (int round = 0; round < 2; ++round) {
    CheckOrderOnStreams(**collective);
    CheckManyAtOnce(**collective);
    CheckBroadcastAndHost(**collective);
    Expect((*collective)->Barrier().ok(), "barrier");
  }
  return failures == 0 ? 0 : 1;
}
