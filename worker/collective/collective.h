// How the ranks of a gang add their gradients. One interface over MPI (CPU), NCCL (GPU) and a single process; the back ends are
// shared objects, loaded when chosen, so that a trainer starts where neither library is installed.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace entrain::collective {

// A reduction under way. Exactly one of the two is called.
class Work {
 public:
  virtual ~Work() = default;
  // Returns once the buffer holds the result, for the host and for every CUDA stream.
  virtual absl::Status Wait() = 0;
  // Device buffers: what is enqueued on the stream afterwards may read the result; the host does not wait, so that a CUDA graph can hold
  // the reduction. Host buffers: as Wait().
  virtual absl::Status WaitOn(void* /*cuda_stream*/) { return Wait(); }
};

class Collective {
 public:
  virtual ~Collective() = default;
  virtual int rank() const = 0;
  virtual int world_size() const = 0;
  // Sums `count` floats over all ranks. In host memory: in rank order, so that the result does not depend on where ranks run or when
  // they arrive. In GPU memory (nccl only): in an order that NCCL derives from its algorithm, the world and the count, never from arrival;
  // so the bits repeat from run to run on the same GPU model, links between the GPUs, world size, NCCL version and NCCL algorithm
  // (NCCL_ALGO, NCCL_PROTO), and are not promised to equal those of other hardware or of rank order.
  // The buffer must stay alive and untouched until Wait() or, on the stream, WaitOn(). Called in the same order on every rank, by one thread at a time.
  virtual std::unique_ptr<Work> AllReduceSum(float* buffer, std::int64_t count) = 0;
  // Elementwise maximum, blocking.
  virtual absl::Status AllReduceMax(float* buffer, std::int64_t count) = 0;
  virtual absl::Status Broadcast(void* bytes, std::int64_t size, int root) = 0;
  virtual absl::Status Barrier() = 0;
  // The cudaStream_t whose work fills device buffers, until the next call: a reduction starts after what it holds then. Null is CUDA's
  // default stream, and what holds before the first call.
  virtual void SetComputeStream(void* /*cuda_stream*/) {}
  // From now on the gang ends, retryable, when a reduction on a device takes longer: a frozen peer shows in no other way. For whoever knows
  // how long a step takes; nccl only.
  virtual void SetOperationLimit(std::chrono::nanoseconds /*limit*/) {}
  // Ends every rank of the gang at once; used when this rank cannot go on.
  virtual void Abort(int exit_code) = 0;
};

// How long nccl waits: for all ranks to join, and for one reduction until SetOperationLimit() says better.
struct CollectiveLimits {
  std::chrono::nanoseconds join = std::chrono::minutes(2);
  std::chrono::nanoseconds operation = std::chrono::minutes(10);
};

// `backend`: "single", "mpi" or "nccl". NOT_FOUND when its shared object or library is not installed.
absl::StatusOr<std::unique_ptr<Collective>> MakeCollective(const std::string& backend, const CollectiveLimits& limits = {});

}  // namespace entrain::collective
