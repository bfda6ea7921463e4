// Reductions of device buffers over NCCL; host buffers (samples, flags) and the start go over MPI.
#include <cuda_runtime.h>
#include <nccl.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "base/log.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "worker/collective/backend.h"
#include "worker/collective/mpi_engine.h"
#include "worker/collective/nccl_communicator.h"

namespace entrain::collective {
namespace {

using Clock = NcclCommunicator::Clock;
constexpr auto kWatchdogPeriod = std::chrono::milliseconds(200);
constexpr auto kPollPause = std::chrono::microseconds(20);
constexpr int kRetryableExit = 75;

absl::Status CudaStatus(cudaError_t code, const char* action) {
  if (code == cudaSuccess) return absl::OkStatus();
  return absl::UnavailableError(StrCat(action, ": ", cudaGetErrorString(code)));
}

bool IsDevicePointer(const void* pointer) {
  cudaPointerAttributes attributes{};
  if (cudaPointerGetAttributes(&attributes, pointer) != cudaSuccess) {
    (void)cudaGetLastError();
    return false;
  }
  return attributes.type == cudaMemoryTypeDevice;
}

// A reduction on the stream; the event has passed when it is done.
struct Operation {
  ~Operation() {
    if (done != nullptr) cudaEventDestroy(done);
  }
  cudaEvent_t done = nullptr;
  Clock::time_point started = Clock::now();
};

class NcclWork : public Work {
 public:
  NcclWork(absl::Status started, std::shared_ptr<const Operation> operation, const NcclCommunicator* communicator)
      : started_(std::move(started)), operation_(std::move(operation)), communicator_(communicator) {}

  // A peer that is lost meanwhile shows where the host waits for the stream; the watchdog has aborted by then.
  absl::Status WaitOn(void* cuda_stream) override {
    ENTRAIN_RETURN_IF_ERROR(started_);
    return CudaStatus(cudaStreamWaitEvent(static_cast<cudaStream_t>(cuda_stream), operation_->done, 0), "wait for all-reduce");
  }
  // Ends at the latest with the watchdog's deadline.
  absl::Status Wait() override {
    ENTRAIN_RETURN_IF_ERROR(started_);
    for (;;) {
      // Looked at first: an abort lets the event pass without a result.
      if (communicator_->aborted()) return absl::UnavailableError("all-reduce: the NCCL communicator was aborted");
      const cudaError_t state = cudaEventQuery(operation_->done);
      if (state == cudaSuccess && communicator_->aborted()) continue;
      if (state != cudaErrorNotReady) return CudaStatus(state, "all-reduce");
      std::this_thread::sleep_for(kPollPause);
    }
  }

 private:
  absl::Status started_;
  std::shared_ptr<const Operation> operation_;
  const NcclCommunicator* communicator_;
};

class NcclCollective : public Collective {
 public:
  static absl::StatusOr<std::unique_ptr<NcclCollective>> Start(const CollectiveLimits& limits) {
    ENTRAIN_ASSIGN_OR_RETURN(std::unique_ptr<MpiEngine> engine, MpiEngine::Start());
    auto collective = std::unique_ptr<NcclCollective>(new NcclCollective(std::move(engine), limits));
    ENTRAIN_RETURN_IF_ERROR(collective->Connect(limits.join));
    return collective;
  }

  ~NcclCollective() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      wake_.notify_all();
    }
    if (watchdog_.joinable()) watchdog_.join();
    communicator_.reset();
    if (stream_ != nullptr) cudaStreamDestroy(stream_);
  }

  int rank() const override { return engine_->rank(); }
  int world_size() const override { return engine_->world_size(); }

  std::unique_ptr<Work> AllReduceSum(float* buffer, std::int64_t count) override {
    if (!IsDevicePointer(buffer)) return engine_->AllReduceSum(buffer, count);
    return AllReduce(buffer, count, ncclSum);
  }

  absl::Status AllReduceMax(float* buffer, std::int64_t count) override {
    if (!IsDevicePointer(buffer)) return engine_->AllReduceMax(buffer, count)->Wait();
    return AllReduce(buffer, count, ncclMax)->Wait();
  }

  absl::Status Broadcast(void* bytes, std::int64_t size, int root) override {
    if (!IsDevicePointer(bytes)) return engine_->Broadcast(bytes, size, root)->Wait();
    const auto operation = std::make_shared<Operation>();
    absl::Status started = Enqueue("broadcast", operation, [&](ncclComm_t comm) {
      return ncclBroadcast(bytes, bytes, static_cast<std::size_t>(size), ncclUint8, root, comm, stream_);
    });
    return NcclWork(std::move(started), operation, communicator_.get()).Wait();
  }

  absl::Status Barrier() override { return engine_->Barrier()->Wait(); }

  void SetComputeStream(void* cuda_stream) override { compute_stream_ = static_cast<cudaStream_t>(cuda_stream); }
  void SetOperationLimit(std::chrono::nanoseconds limit) override { limit_ = limit; }

  void Abort(int exit_code) override {
    communicator_->Abort();
    engine_->Abort(exit_code);
  }

 private:
  NcclCollective(std::unique_ptr<MpiEngine> engine, const CollectiveLimits& limits) : engine_(std::move(engine)), limit_(limits.operation) {}

  absl::Status Connect(std::chrono::nanoseconds limit) {
    ncclUniqueId id{};
    if (rank() == 0) {
      if (const ncclResult_t made = ncclGetUniqueId(&id); made != ncclSuccess) {
        return absl::UnavailableError(StrCat("make NCCL id: ", ncclGetErrorString(made)));
      }
    }
    ENTRAIN_RETURN_IF_ERROR(engine_->Broadcast(&id, sizeof(id), 0)->Wait());
    absl::StatusOr<std::unique_ptr<NcclCommunicator>> joined = NcclCommunicator::Join(id, world_size(), rank(), limit);
    if (!joined.ok()) {
      // The others may be waiting for this rank, in NCCL or behind it.
      Log(LogLevel::kError, "NCCL failed", {{"error", std::string(joined.status().message())}});
      if (world_size() > 1) engine_->Abort(kRetryableExit);
      return joined.status();
    }
    communicator_ = *std::move(joined);
    // Reductions run beside the computation, ordered by events alone.
    ENTRAIN_RETURN_IF_ERROR(CudaStatus(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "make stream"));
    ENTRAIN_RETURN_IF_ERROR(CudaStatus(cudaGetDevice(&device_), "find device"));
    watchdog_ = std::thread([this] { Watch(); });
    return absl::OkStatus();
  }

  std::unique_ptr<Work> AllReduce(float* buffer, std::int64_t count, ncclRedOp_t reduction) {
    const auto operation = std::make_shared<Operation>();
    absl::Status started = Enqueue("all-reduce", operation, [&](ncclComm_t comm) {
      return ncclAllReduce(buffer, buffer, static_cast<std::size_t>(count), ncclFloat, reduction, comm, stream_);
    });
    return std::make_unique<NcclWork>(std::move(started), operation, communicator_.get());
  }

  absl::Status Enqueue(const char* action, const std::shared_ptr<Operation>& operation,
                       const std::function<ncclResult_t(ncclComm_t)>& call) {
    ENTRAIN_RETURN_IF_ERROR(FollowComputation());
    ENTRAIN_RETURN_IF_ERROR(CudaStatus(cudaEventCreateWithFlags(&operation->done, cudaEventDisableTiming), "make event"));
    ENTRAIN_RETURN_IF_ERROR(communicator_->Run(action, limit_.load(), call));
    ENTRAIN_RETURN_IF_ERROR(CudaStatus(cudaEventRecord(operation->done, stream_), "record event"));
    // What a graph captures has not begun, and its event must not be asked: whoever replays the graph watches its steps.
    cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
    ENTRAIN_RETURN_IF_ERROR(CudaStatus(cudaStreamIsCapturing(stream_, &capture), "ask for capture"));
    if (capture != cudaStreamCaptureStatusNone) return absl::OkStatus();
    const std::lock_guard lock(mutex_);
    under_way_.push_back(operation);
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

  // A peer that died shows only as an asynchronous error, one that froze not at all: without the abort this rank would wait inside a kernel
  // for ever. NCCL wants every rank to abort, so the gang ends as a whole.
  void Watch() {
    cudaSetDevice(device_);
    for (;;) {
      {
        std::unique_lock lock(mutex_);
        if (wake_.wait_for(lock, kWatchdogPeriod, [this] { return stopping_; })) return;
      }
      absl::Status state = communicator_->Check("watch NCCL");
      if (state.ok()) state = CheckProgress();
      if (state.ok()) continue;
      if (communicator_->aborted()) return;  // by Abort(), which ends the process
      Log(LogLevel::kError, "NCCL failed", {{"error", std::string(state.message())}});
      communicator_->Abort();
      engine_->Abort(kRetryableExit);
    }
  }

  // Operations end in the order in which they began, so that the first that has not ended tells.
  absl::Status CheckProgress() {
    const std::lock_guard lock(mutex_);
    while (!under_way_.empty() && cudaEventQuery(under_way_.front()->done) != cudaErrorNotReady) under_way_.pop_front();
    if (under_way_.empty() || Clock::now() - under_way_.front()->started < limit_.load()) return absl::OkStatus();
    const auto limit_ms = std::chrono::duration_cast<std::chrono::milliseconds>(limit_.load()).count();
    return absl::DeadlineExceededError(StrCat("an operation has not ended within ", limit_ms, " ms: a rank is frozen or lost"));
  }

  std::unique_ptr<MpiEngine> engine_;
  std::unique_ptr<NcclCommunicator> communicator_;
  cudaStream_t stream_ = nullptr;
  cudaStream_t compute_stream_ = nullptr;
  int device_ = 0;
  std::atomic<std::chrono::nanoseconds> limit_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::deque<std::shared_ptr<const Operation>> under_way_;
  std::thread watchdog_;
};

}  // namespace
}  // namespace entrain::collective

ENTRAIN_COLLECTIVE_EXPORT entrain::collective::Collective* EntrainMakeCollective(const entrain::collective::CollectiveLimits& limits,
                                                                                 std::string* error) {
  auto collective = entrain::collective::NcclCollective::Start(limits);
  if (!collective.ok()) {
    *error = std::string(collective.status().message());
    return nullptr;
  }
  return collective->release();
}
