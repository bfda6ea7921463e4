// A thread that makes every MPI call of the process, so that reductions advance while the training thread computes and MPI needs no
// thread support of its own. Waiting sleeps in short pauses instead of spinning: on a CPU slot the core belongs to the computation.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/collective/collective.h"

namespace entrain::collective {

class MpiEngine {
 public:
  // Joins the world. MPI itself ends the process when it cannot.
  static absl::StatusOr<std::unique_ptr<MpiEngine>> Start();
  // Leaves the world: waits until every rank does.
  ~MpiEngine();
  MpiEngine(const MpiEngine&) = delete;
  MpiEngine& operator=(const MpiEngine&) = delete;

  int rank() const { return rank_; }
  int world_size() const { return world_size_; }

  // Queued; carried out in the order of the calls. Buffers stay alive until Wait().
  std::unique_ptr<Work> AllReduceSum(float* buffer, std::int64_t count);
  // NaN where any rank has NaN, so that all ranks see what one saw.
  std::unique_ptr<Work> AllReduceMax(float* buffer, std::int64_t count);
  std::unique_ptr<Work> Broadcast(void* bytes, std::int64_t size, int root);
  std::unique_ptr<Work> Barrier();
  // Ends every rank; does not return.
  [[noreturn]] void Abort(int exit_code);

 private:
  struct Pending;
  class PendingWork;
  using Combine = void (*)(float* accumulator, const float* other, std::int64_t count);

  MpiEngine() = default;
  std::unique_ptr<Work> Submit(std::function<absl::Status()> run);
  void Main();
  absl::Status Initialise();
  absl::Status Reduce(float* buffer, std::int64_t count, Combine combine);
  absl::Status ReduceChunk(float* buffer, std::int64_t count, Combine combine);

  int rank_ = 0;
  int world_size_ = 1;
  std::vector<float> received_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Pending>> queue_;
  bool closing_ = false;
  // Exit code + 1 once an abort is wanted; looked at in every pause.
  std::atomic<int> abort_request_{0};
  std::thread thread_;
};

}  // namespace entrain::collective
