// One NCCL communicator in non-blocking mode, used by the training thread and watched by another.
//
// Every call that NCCL may carry out later is waited for with a limit; whoever aborts first wins, and every later use answers UNAVAILABLE
// instead of touching what NCCL has freed.
#pragma once

#include <nccl.h>

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>

#include "absl/status/statusor.h"

namespace entrain::collective {

class NcclCommunicator {
 public:
  using Clock = std::chrono::steady_clock;

  // DEADLINE_EXCEEDED when not all ranks have joined within `limit`, UNAVAILABLE for NCCL's own errors. NCCL alone would wait for ever for
  // a rank that does not come.
  static absl::StatusOr<std::unique_ptr<NcclCommunicator>> Join(const ncclUniqueId& id, int world_size, int rank, Clock::duration limit);
  // Leaves in order unless aborted.
  ~NcclCommunicator();
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  // Makes a call and returns once it is on its stream. `action` names it in errors.
  absl::Status Run(const char* action, Clock::duration limit, const std::function<ncclResult_t(ncclComm_t)>& call);
  // The asynchronous error: how a lost peer shows.
  absl::Status Check(const char* action);
  // Ends every operation under way. Any thread; returns within a few seconds even if NCCL does not.
  void Abort();
  bool aborted() const;

 private:
  explicit NcclCommunicator(ncclComm_t comm) : comm_(comm) {}
  // The state of the last call: true once it is carried out.
  absl::StatusOr<bool> Poll(const char* action);
  absl::Status Settle(const char* action, Clock::time_point deadline);

  // Held while NCCL is inside a call, which in non-blocking mode is short. Abort() does not wait for it for ever.
  mutable std::timed_mutex mutex_;
  ncclComm_t comm_;  // null once aborted
};

}  // namespace entrain::collective
