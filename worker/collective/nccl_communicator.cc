#include "worker/collective/nccl_communicator.h"

#include <future>
#include <thread>
#include <utility>

#include "base/log.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::collective {
namespace {

constexpr auto kSettlePause = std::chrono::microseconds(20);
constexpr auto kLeaveLimit = std::chrono::seconds(30);
constexpr auto kAbortLimit = std::chrono::seconds(5);
constexpr auto kCallLimit = std::chrono::seconds(30);  // a call that another thread is in; it should return at once

absl::Status NcclStatus(ncclResult_t code, const char* action, ncclComm_t comm) {
  if (code == ncclSuccess || code == ncclInProgress) return absl::OkStatus();
  const char* detail = comm == nullptr ? "" : ncclGetLastError(comm);
  return absl::UnavailableError(StrCat(action, ": ", ncclGetErrorString(code), detail[0] == 0 ? "" : ": ", detail));
}

absl::Status Aborted(const char* action) { return absl::UnavailableError(StrCat(action, ": the NCCL communicator was aborted")); }

}  // namespace

absl::StatusOr<std::unique_ptr<NcclCommunicator>> NcclCommunicator::Join(const ncclUniqueId& id, int world_size, int rank,
                                                                          Clock::duration limit) {
  constexpr const char* kAction = "join NCCL";
  const auto deadline = Clock::now() + limit;
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  ncclComm_t comm = nullptr;
  ENTRAIN_RETURN_IF_ERROR(NcclStatus(ncclCommInitRankConfig(&comm, world_size, id, rank, &config), kAction, nullptr));
  auto communicator = std::unique_ptr<NcclCommunicator>(new NcclCommunicator(comm));
  if (absl::Status status = communicator->Settle(kAction, deadline); !status.ok()) {
    communicator->Abort();
    return status;
  }
  return communicator;
}

NcclCommunicator::~NcclCommunicator() {
  if (aborted()) return;
  constexpr const char* kAction = "leave NCCL";
  if (const absl::Status left = Run(kAction, kLeaveLimit, ncclCommFinalize); !left.ok()) {
    Log(LogLevel::kWarning, "NCCL was not left in order", {{"error", std::string(left.message())}});
    Abort();
    return;
  }
  ncclCommDestroy(comm_);
}

absl::Status NcclCommunicator::Run(const char* action, Clock::duration limit, const std::function<ncclResult_t(ncclComm_t)>& call) {
  const auto deadline = Clock::now() + limit;
  {
    const std::lock_guard lock(mutex_);
    if (comm_ == nullptr) return Aborted(action);
    ENTRAIN_RETURN_IF_ERROR(NcclStatus(call(comm_), action, comm_));
  }
  return Settle(action, deadline);
}

absl::Status NcclCommunicator::Check(const char* action) { return Poll(action).status(); }

absl::StatusOr<bool> NcclCommunicator::Poll(const char* action) {
  const std::unique_lock lock(mutex_, kCallLimit);
  if (!lock.owns_lock()) return absl::DeadlineExceededError(StrCat(action, ": NCCL hangs in a call"));
  if (comm_ == nullptr) return Aborted(action);
  ncclResult_t state = ncclInProgress;
  ENTRAIN_RETURN_IF_ERROR(NcclStatus(ncclCommGetAsyncError(comm_, &state), action, comm_));
  ENTRAIN_RETURN_IF_ERROR(NcclStatus(state, action, comm_));
  return state != ncclInProgress;
}

absl::Status NcclCommunicator::Settle(const char* action, Clock::time_point deadline) {
  for (;;) {
    ENTRAIN_ASSIGN_OR_RETURN(const bool done, Poll(action));
    if (done) return absl::OkStatus();
    if (Clock::now() > deadline) return absl::DeadlineExceededError(StrCat(action, ": NCCL did not answer in time"));
    std::this_thread::sleep_for(kSettlePause);
  }
}

void NcclCommunicator::Abort() {
  // NCCL allows the abort beside a call that hangs.
  std::unique_lock lock(mutex_, kAbortLimit);
  ncclComm_t comm = std::exchange(comm_, nullptr);
  if (comm == nullptr) return;
  // On a thread of its own, left behind if NCCL hangs in it: the process is about to end.
  std::promise<void> ended;
  std::future<void> end = ended.get_future();
  std::thread([comm, ended = std::move(ended)]() mutable {
    ncclCommAbort(comm);
    ended.set_value();
  }).detach();
  if (end.wait_for(kAbortLimit) != std::future_status::ready) Log(LogLevel::kError, "NCCL hangs in its abort", {});
}

bool NcclCommunicator::aborted() const {
  const std::lock_guard lock(mutex_);
  return comm_ == nullptr;
}

}  // namespace entrain::collective
