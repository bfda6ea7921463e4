// Reductions of device buffers over NCCL; host buffers (samples, flags) and the start go over MPI.
#include <cuda_runtime.h>
#include <nccl.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>
#include <utility>

#include "base/log.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "worker/collective/backend.h"
#include "worker/collective/mpi_engine.h"

namespace entrain::collective {
namespace {

using SteadyClock = std::chrono::steady_clock;
constexpr auto kInitDeadline = std::chrono::seconds(120);
constexpr auto kOperationDeadline = std::chrono::minutes(10);
constexpr auto kWatchdogPeriod = std::chrono::milliseconds(500);
constexpr auto kPollPause = std::chrono::microseconds(20);
constexpr int kRetryableExit = 75;

absl::Status CudaStatus(cudaError_t code, const char* action) {
  if (code == cudaSuccess) return absl::OkStatus();
  return absl::UnavailableError(StrCat(action, ": ", cudaGetErrorString(code)));
}

absl::Status NcclStatus(ncclResult_t code, const char* action, ncclComm_t comm) {
  if (code == ncclSuccess || code == ncclInProgress) return absl::OkStatus();
  const char* detail = comm == nullptr ? "" : ncclGetLastError(comm);
  return absl::UnavailableError(StrCat(action, ": ", ncclGetErrorString(code), detail[0] == 0 ? "" : ": ", detail));
}

// Waits until a non-blocking call on the communicator has been carried out.
absl::Status Settle(ncclComm_t comm, SteadyClock::time_point deadline, const char* action) {
  for (;;) {
    ncclResult_t state = ncclInProgress;
    ENTRAIN_RETURN_IF_ERROR(NcclStatus(ncclCommGetAsyncError(comm, &state), action, comm));
    if (state != ncclInProgress) return NcclStatus(state, action, comm);
    if (SteadyClock::now() > deadline) return absl::DeadlineExceededError(StrCat(action, ": NCCL did not answer in time"));
    std::this_thread::sleep_for(kPollPause);
  }
}

bool IsDevicePointer(const void* pointer) {
  cudaPointerAttributes attributes{};
  if (cudaPointerGetAttributes(&attributes, pointer) != cudaSuccess) {
    (void)cudaGetLastError();
    return false;
  }
  return attributes.type == cudaMemoryTypeDevice;
}

// Done once the event behind the reduction has passed.
class NcclWork : public Work {
 public:
  NcclWork(absl::Status started, cudaEvent_t done, const std::atomic<bool>* failed)
      : started_(std::move(started)), done_(done), failed_(failed) {}
  ~NcclWork() override {
    if (done_ != nullptr) cudaEventDestroy(done_);
  }
  // A peer that is lost meanwhile shows where the host waits for the stream; the watchdog has aborted by then.
  absl::Status WaitOn(void* cuda_stream) override {
    ENTRAIN_RETURN_IF_ERROR(started_);
    return CudaStatus(cudaStreamWaitEvent(static_cast<cudaStream_t>(cuda_stream), done_, 0), "wait for all-reduce");
  }
  absl::Status Wait() override {
    ENTRAIN_RETURN_IF_ERROR(started_);
    const auto deadline = SteadyClock::now() + kOperationDeadline;
    for (;;) {
      const cudaError_t state = cudaEventQuery(done_);
      if (state != cudaErrorNotReady) return CudaStatus(state, "all-reduce");
      if (failed_->load()) return absl::UnavailableError("all-reduce: the NCCL communicator was aborted");
      if (SteadyClock::now() > deadline) return absl::DeadlineExceededError("all-reduce: no result within 10 minutes");
      std::this_thread::sleep_for(kPollPause);
    }
  }

 private:
  absl::Status started_;
  cudaEvent_t done_;
  const std::atomic<bool>* failed_;
};

class NcclCollective : public Collective {
 public:
  static absl::StatusOr<std::unique_ptr<NcclCollective>> Start() {
    ENTRAIN_ASSIGN_OR_RETURN(std::unique_ptr<MpiEngine> engine, MpiEngine::Start());
    auto collective = std::unique_ptr<NcclCollective>(new NcclCollective(std::move(engine)));
    ENTRAIN_RETURN_IF_ERROR(collective->Connect());
    return collective;
  }

  ~NcclCollective() override {
    stopping_ = true;
    if (watchdog_.joinable()) watchdog_.join();
    if (comm_ != nullptr && !failed_) {
      ncclCommFinalize(comm_);
      (void)Settle(comm_, SteadyClock::now() + kInitDeadline, "finalise NCCL");
      ncclCommDestroy(comm_);
    }
    if (stream_ != nullptr) cudaStreamDestroy(stream_);
  }

  int rank() const override { return engine_->rank(); }
  int world_size() const override { return engine_->world_size(); }

  std::unique_ptr<Work> AllReduceSum(float* buffer, std::int64_t count) override {
    if (!IsDevicePointer(buffer)) return engine_->AllReduceSum(buffer, count);
    cudaEvent_t done = nullptr;
    absl::Status started = Enqueue(buffer, count, ncclSum, &done);
    return std::make_unique<NcclWork>(std::move(started), done, &failed_);
  }

  absl::Status AllReduceMax(float* buffer, std::int64_t count) override {
    if (!IsDevicePointer(buffer)) return engine_->AllReduceMax(buffer, count)->Wait();
    cudaEvent_t done = nullptr;
    absl::Status started = Enqueue(buffer, count, ncclMax, &done);
    return NcclWork(std::move(started), done, &failed_).Wait();
  }

  absl::Status Broadcast(void* bytes, std::int64_t size, int root) override {
    if (!IsDevicePointer(bytes)) return engine_->Broadcast(bytes, size, root)->Wait();
    ENTRAIN_RETURN_IF_ERROR(FollowComputation());
    const ncclResult_t code =
        ncclBroadcast(bytes, bytes, static_cast<std::size_t>(size), ncclUint8, root, comm_, stream_);
    ENTRAIN_RETURN_IF_ERROR(NcclStatus(code, "broadcast", comm_));
    ENTRAIN_RETURN_IF_ERROR(Settle(comm_, SteadyClock::now() + kOperationDeadline, "broadcast"));
    return CudaStatus(cudaStreamSynchronize(stream_), "broadcast");
  }

  absl::Status Barrier() override { return engine_->Barrier()->Wait(); }

  void SetComputeStream(void* cuda_stream) override { compute_stream_ = static_cast<cudaStream_t>(cuda_stream); }

  void Abort(int exit_code) override {
    AbortCommunicator();
    engine_->Abort(exit_code);
  }

 private:
  explicit NcclCollective(std::unique_ptr<MpiEngine> engine) : engine_(std::move(engine)) {}

  absl::Status Connect() {
    ncclUniqueId id{};
    if (rank() == 0) ENTRAIN_RETURN_IF_ERROR(NcclStatus(ncclGetUniqueId(&id), "make NCCL id", nullptr));
    ENTRAIN_RETURN_IF_ERROR(engine_->Broadcast(&id, sizeof(id), 0)->Wait());
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    const ncclResult_t code = ncclCommInitRankConfig(&comm_, world_size(), id, rank(), &config);
    ENTRAIN_RETURN_IF_ERROR(NcclStatus(code, "join NCCL", nullptr));
    if (absl::Status status = Settle(comm_, SteadyClock::now() + kInitDeadline, "join NCCL"); !status.ok()) {
      AbortCommunicator();
      return status;
    }
    // Reductions run beside the computation, ordered by events alone.
    ENTRAIN_RETURN_IF_ERROR(CudaStatus(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "make stream"));
    ENTRAIN_RETURN_IF_ERROR(CudaStatus(cudaGetDevice(&device_), "find device"));
    watchdog_ = std::thread([this] { Watch(); });
    return absl::OkStatus();
  }

  // What is enqueued next starts after everything that the computation's stream holds now.
  absl::Status FollowComputation() {
    cudaEvent_t ready = nullptr;
    ENTRAIN_RETURN_IF_ERROR(CudaStatus(cudaEventCreateWithFlags(&ready, cudaEventDisableTiming), "make event"));
    absl::Status status = CudaStatus(cudaEventRecord(ready, compute_stream_), "record event");
    if (status.ok()) status = CudaStatus(cudaStreamWaitEvent(stream_, ready, 0), "wait for event");
    cudaEventDestroy(ready);
    return status;
  }

  absl::Status Enqueue(float* buffer, std::int64_t count, ncclRedOp_t operation, cudaEvent_t* done) {
    ENTRAIN_RETURN_IF_ERROR(FollowComputation());
    ENTRAIN_RETURN_IF_ERROR(CudaStatus(cudaEventCreateWithFlags(done, cudaEventDisableTiming), "make event"));
    const ncclResult_t code =
        ncclAllReduce(buffer, buffer, static_cast<std::size_t>(count), ncclFloat, operation, comm_, stream_);
    ENTRAIN_RETURN_IF_ERROR(NcclStatus(code, "all-reduce", comm_));
    ENTRAIN_RETURN_IF_ERROR(Settle(comm_, SteadyClock::now() + kOperationDeadline, "all-reduce"));
    return CudaStatus(cudaEventRecord(*done, stream_), "record event");
  }

  // A peer that died shows only as an asynchronous error: without the abort this rank would wait inside a kernel forever.
  void Watch() {
    cudaSetDevice(device_);
    while (!stopping_ && !failed_) {
      ncclResult_t state = ncclSuccess;
      const ncclResult_t code = ncclCommGetAsyncError(comm_, &state);
      const bool bad = (code != ncclSuccess) || (state != ncclSuccess && state != ncclInProgress);
      if (bad) {
        Log(LogLevel::kError, "NCCL failed", {{"error", ncclGetErrorString(code != ncclSuccess ? code : state)}});
        AbortCommunicator();
        engine_->Abort(kRetryableExit);
      }
      std::this_thread::sleep_for(kWatchdogPeriod);
    }
  }

  void AbortCommunicator() {
    if (!failed_.exchange(true) && comm_ != nullptr) ncclCommAbort(comm_);
  }

  std::unique_ptr<MpiEngine> engine_;
  ncclComm_t comm_ = nullptr;
  cudaStream_t stream_ = nullptr;
  cudaStream_t compute_stream_ = nullptr;
  int device_ = 0;
  std::atomic<bool> failed_{false};
  std::atomic<bool> stopping_{false};
  std::thread watchdog_;
};

}  // namespace
}  // namespace entrain::collective

ENTRAIN_COLLECTIVE_EXPORT entrain::collective::Collective* EntrainMakeCollective(std::string* error) {
  auto collective = entrain::collective::NcclCollective::Start();
  if (!collective.ok()) {
    *error = std::string(collective.status().message());
    return nullptr;
  }
  return collective->release();
}
