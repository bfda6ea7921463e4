#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "cuda_runtime.h"

namespace {

// One recording of an event: passed once the stream has come to it.
class Mark {
 public:
  void Pass() {
    const std::lock_guard lock(mutex_);
    passed_ = true;
    changed_.notify_all();
  }
  bool passed() {
    const std::lock_guard lock(mutex_);
    return passed_;
  }
  void Wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return passed_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool passed_ = false;
};

struct DeviceMemory {
  std::mutex mutex;
  std::map<const char*, std::size_t> sizes;
};

DeviceMemory& Memory() {
  static DeviceMemory memory;
  return memory;
}

}  // namespace

struct CUevent_st {
  std::mutex mutex;
  std::shared_ptr<Mark> last;  // null: never recorded, which counts as passed
};

struct CUstream_st {
 public:
  CUstream_st() : thread_([this] { Main(); }) {}
  ~CUstream_st() {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
      wake_.notify_all();
    }
    thread_.join();
  }
  void Enqueue(std::function<void()> work) {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(work));
    wake_.notify_all();
  }

 private:
  void Main() {
    for (;;) {
      std::function<void()> next;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [this] { return closing_ || !queue_.empty(); });
        if (queue_.empty()) return;
        next = std::move(queue_.front());
        queue_.pop_front();
      }
      next();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> queue_;
  bool closing_ = false;
  std::thread thread_;
};

namespace {

// Never destroyed: a process may end while its work hangs.
CUstream_st& Stream(cudaStream_t stream) {
  static CUstream_st* default_stream = new CUstream_st();
  return stream == nullptr ? *default_stream : *stream;
}

std::shared_ptr<Mark> LastMark(cudaEvent_t event) {
  const std::lock_guard lock(event->mutex);
  return event->last;
}

}  // namespace

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorNotReady: return "device not ready";
  }
  return "unrecognized error code";
}

cudaError_t cudaGetLastError() { return cudaSuccess; }

cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidValue; }

cudaError_t cudaMalloc(void** pointer, std::size_t bytes) {
  *pointer = std::calloc(bytes == 0 ? 1 : bytes, 1);
  if (*pointer == nullptr) return cudaErrorMemoryAllocation;
  const std::lock_guard lock(Memory().mutex);
  Memory().sizes[static_cast<const char*>(*pointer)] = bytes;
  return cudaSuccess;
}

cudaError_t cudaFree(void* pointer) {
  const std::lock_guard lock(Memory().mutex);
  if (Memory().sizes.erase(static_cast<const char*>(pointer)) == 0) return cudaErrorInvalidValue;
  std::free(pointer);
  return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  const auto* place = static_cast<const char*>(pointer);
  const std::lock_guard lock(Memory().mutex);
  const auto after = Memory().sizes.upper_bound(place);
  const bool inside = after != Memory().sizes.begin() && place < std::prev(after)->first + std::prev(after)->second;
  *attributes = {inside ? cudaMemoryTypeDevice : cudaMemoryTypeUnregistered, 0, nullptr, nullptr};
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new CUstream_st();
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const auto mark = std::make_shared<Mark>();
  Stream(stream).Enqueue([mark] { mark->Pass(); });
  mark->Wait();
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  *status = cudaStreamCaptureStatusNone;
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (const std::shared_ptr<Mark> mark = LastMark(event)) Stream(stream).Enqueue([mark] { mark->Wait(); });
  return cudaSuccess;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  Stream(stream).Enqueue([function, data] { function(data); });
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st();
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const auto mark = std::make_shared<Mark>();
  {
    const std::lock_guard lock(event->mutex);
    event->last = mark;
  }
  Stream(stream).Enqueue([mark] { mark->Pass(); });
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  const std::shared_ptr<Mark> mark = LastMark(event);
  return mark == nullptr || mark->passed() ? cudaSuccess : cudaErrorNotReady;
}
