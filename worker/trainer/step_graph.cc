#include "worker/trainer/step_graph.h"

#include "base/check.h"

#ifdef ENTRAIN_CUDA
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include <chrono>
#include <string>
#include <thread>

#include "base/log.h"
#include "base/strings.h"
#endif

namespace entrain::trainer {

#ifdef ENTRAIN_CUDA

namespace {

// cuBLAS makes its workspace in the first call, autograd its threads; a third is for what only a second step does.
constexpr int kDirectCalls = 3;
// A short wait is spent asking: the thread would wake up too late.
constexpr auto kAsking = std::chrono::milliseconds(2);
constexpr auto kPause = std::chrono::microseconds(50);

absl::Status StatusOf(cudaError_t code, const char* what) {
  if (code == cudaSuccess) return absl::OkStatus();
  return absl::UnavailableError(StrCat(what, ": ", cudaGetErrorString(code)));
}

// What is enqueued on `later` from now on starts after what `earlier` holds now.
void Order(const c10::cuda::CUDAStream& earlier, const c10::cuda::CUDAStream& later) {
  cudaEvent_t event = nullptr;
  C10_CUDA_CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  C10_CUDA_CHECK(cudaEventRecord(event, earlier.stream()));
  C10_CUDA_CHECK(cudaStreamWaitEvent(later.stream(), event, 0));
  C10_CUDA_CHECK(cudaEventDestroy(event));
}

}  // namespace

struct StepGraph::Impl {
  Impl(torch::Device on, bool may_capture)
      : device(on), stream(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, on.index())), enabled(may_capture) {
    C10_CUDA_CHECK(cudaEventCreateWithFlags(&done, cudaEventDisableTiming));
  }
  ~Impl() { cudaEventDestroy(done); }

  absl::Status Capture(const std::function<absl::Status()>& work);
  void GiveUp(const std::string& why);

  torch::Device device;
  c10::cuda::CUDAStream stream;
  bool enabled;
  int direct_calls = 0;
  std::unique_ptr<at::cuda::CUDAGraph> graph;
  cudaEvent_t done = nullptr;
};

// Leaves `graph` set, or the work not done and capturing given up.
absl::Status StepGraph::Impl::Capture(const std::function<absl::Status()>& work) {
  C10_CUDA_CHECK(cudaStreamSynchronize(stream.stream()));
  // What direct calls left in the cache is free for the graph's own pool.
  c10::cuda::CUDACachingAllocator::emptyCache();
  graph = std::make_unique<at::cuda::CUDAGraph>();
  absl::Status status;
  bool begun = false;
  try {
    // Other threads (checkpoint writer, NCCL's watchdog, autograd's) may use CUDA meanwhile.
    graph->capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
    begun = true;
    status = work();
    begun = false;
    graph->capture_end();
  } catch (const std::exception& e) {
    if (begun) {
      try {
        graph->capture_end();
      } catch (const std::exception&) {  // the capture was broken off; that is what the first error says
      }
    }
    GiveUp(e.what());
    return absl::OkStatus();
  }
  if (!status.ok()) GiveUp(std::string(status.message()));
  return status;
}

void StepGraph::Impl::GiveUp(const std::string& why) {
  (void)cudaGetLastError();
  graph.reset();
  enabled = false;
  Log(LogLevel::kWarning, "steps are not captured in a CUDA graph", {{"why", why.substr(0, why.find('\n'))}});
}

StepGraph::StepGraph(torch::Device device, bool enabled) {
  if (device.is_cuda()) impl_ = std::make_unique<Impl>(device, enabled);
}

StepGraph::~StepGraph() = default;

absl::Status StepGraph::Run(const std::function<void()>& prepare, const std::function<absl::Status()>& work) {
  if (impl_ == nullptr) {
    prepare();
    return work();
  }
  const c10::cuda::CUDAStream before = c10::cuda::getDefaultCUDAStream(impl_->device.index());
  Order(before, impl_->stream);
  absl::Status status;
  {
    const c10::cuda::CUDAStreamGuard guard(impl_->stream);
    prepare();
    if (impl_->graph == nullptr && impl_->enabled && impl_->direct_calls >= kDirectCalls) status = impl_->Capture(work);
    if (status.ok() && impl_->graph != nullptr) {
      impl_->graph->replay();
    } else if (status.ok()) {
      ++impl_->direct_calls;
      status = work();
    }
    if (status.ok()) status = StatusOf(cudaEventRecord(impl_->done, impl_->stream.stream()), "end of the step");
  }
  Order(impl_->stream, before);
  return status;
}

void StepGraph::Forget() {
  if (impl_ != nullptr) impl_->graph.reset();
}

bool StepGraph::is_captured() const { return impl_ != nullptr && impl_->graph != nullptr; }

absl::Status StepGraph::WaitForResults(std::chrono::nanoseconds limit) const {
  if (impl_ == nullptr) return absl::OkStatus();
  const auto began = std::chrono::steady_clock::now();
  for (;;) {
    const cudaError_t state = cudaEventQuery(impl_->done);
    if (state != cudaErrorNotReady) return StatusOf(state, "the step on the GPU");
    const auto waited = std::chrono::steady_clock::now() - began;
    if (waited > limit) {
      const auto limit_s = std::chrono::duration_cast<std::chrono::seconds>(limit).count();
      return absl::DeadlineExceededError(StrCat("the step on the GPU: no result within ", limit_s, " s"));
    }
    if (waited > kAsking) std::this_thread::sleep_for(kPause);
  }
}

void StartCopy(const torch::Tensor& to, const torch::Tensor& from) {
  ENTRAIN_CHECK(to.is_contiguous() && from.is_contiguous() && to.nbytes() == from.nbytes());
  if (!to.is_cuda() && !from.is_cuda()) {
    torch::Tensor target = to;
    target.copy_(from);
    return;
  }
  const auto stream = c10::cuda::getCurrentCUDAStream(to.is_cuda() ? to.device().index() : from.device().index());
  C10_CUDA_CHECK(cudaMemcpyAsync(to.mutable_data_ptr(), from.const_data_ptr(), from.nbytes(), cudaMemcpyDefault, stream.stream()));
}

#else

struct StepGraph::Impl {};

StepGraph::StepGraph(torch::Device device, bool) { ENTRAIN_CHECK(!device.is_cuda()); }
StepGraph::~StepGraph() = default;

absl::Status StepGraph::Run(const std::function<void()>& prepare, const std::function<absl::Status()>& work) {
  prepare();
  return work();
}

void StepGraph::Forget() {}
bool StepGraph::is_captured() const { return false; }
absl::Status StepGraph::WaitForResults(std::chrono::nanoseconds /*limit*/) const { return absl::OkStatus(); }

void StartCopy(const torch::Tensor& to, const torch::Tensor& from) {
  ENTRAIN_CHECK(to.is_contiguous() && from.is_contiguous() && to.nbytes() == from.nbytes());
  torch::Tensor target = to;
  target.copy_(from);
}

#endif

}  // namespace entrain::trainer
