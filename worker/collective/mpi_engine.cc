#include "worker/collective/mpi_engine.h"

#include <mpi.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <string>
#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::collective {
namespace {

constexpr int kTag = 7;
// Keeps counts inside MPI's int and bounds the receive buffer.
constexpr std::int64_t kMaxChunkFloats = 1 << 26;
constexpr std::int64_t kMaxChunkBytes = 1 << 28;
constexpr int kTestsBeforePause = 20;
constexpr int kFirstPauseUs = 10;
constexpr int kLongestPauseUs = 200;
constexpr auto kAbortGrace = std::chrono::seconds(5);

absl::Status MpiStatus(int code, const char* action) {
  if (code == MPI_SUCCESS) return absl::OkStatus();
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  return absl::UnavailableError(StrCat(action, ": ", std::string_view(text, static_cast<std::size_t>(length))));
}

// Tests the requests until all are done.
absl::Status WaitAll(std::vector<MPI_Request>* requests, const std::atomic<int>& abort_request, const char* action) {
  int pause_us = kFirstPauseUs;
  for (int tests = 0;; ++tests) {
    int done = 0;
    const int code =
        MPI_Testall(static_cast<int>(requests->size()), requests->data(), &done, MPI_STATUSES_IGNORE);
    ENTRAIN_RETURN_IF_ERROR(MpiStatus(code, action));
    if (done != 0) return absl::OkStatus();
    if (const int request = abort_request.load(); request != 0) MPI_Abort(MPI_COMM_WORLD, request - 1);
    if (tests < kTestsBeforePause) continue;
    std::this_thread::sleep_for(std::chrono::microseconds(pause_us));
    pause_us = std::min(pause_us + pause_us / 2 + 1, kLongestPauseUs);
  }
}

void Add(float* accumulator, const float* other, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) accumulator[i] += other[i];
}

void TakeMax(float* accumulator, const float* other, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    if (std::isnan(other[i]) || other[i] > accumulator[i]) accumulator[i] = other[i];
  }
}

// Rank r owns [Begin(r), Begin(r + 1)) of a buffer.
struct Slices {
  std::int64_t count;
  int world_size;
  std::int64_t Begin(int rank) const { return count * rank / world_size; }
  int Size(int rank) const { return static_cast<int>(Begin(rank + 1) - Begin(rank)); }
};

}  // namespace

struct MpiEngine::Pending {
  std::function<absl::Status()> run;
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
  absl::Status status;

  void Finish(absl::Status result) {
    std::lock_guard<std::mutex> lock(mutex);
    status = std::move(result);
    done = true;
    changed.notify_all();
  }
  absl::Status Wait() {
    std::unique_lock<std::mutex> lock(mutex);
    changed.wait(lock, [&] { return done; });
    return status;
  }
};

class MpiEngine::PendingWork : public Work {
 public:
  explicit PendingWork(std::shared_ptr<Pending> pending) : pending_(std::move(pending)) {}
  absl::Status Wait() override { return pending_->Wait(); }

 private:
  std::shared_ptr<Pending> pending_;
};

absl::StatusOr<std::unique_ptr<MpiEngine>> MpiEngine::Start() {
  auto engine = std::unique_ptr<MpiEngine>(new MpiEngine());
  auto started = std::make_shared<Pending>();
  started->run = [raw = engine.get()] { return raw->Initialise(); };
  engine->queue_.push_back(started);
  engine->thread_ = std::thread([raw = engine.get()] { raw->Main(); });
  ENTRAIN_RETURN_IF_ERROR(started->Wait());
  return engine;
}

MpiEngine::~MpiEngine() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    closing_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

absl::Status MpiEngine::Initialise() {
  ::prctl(PR_SET_TIMERSLACK, 1000);  // ns: short pauses stay short
  int provided = 0;
  ENTRAIN_RETURN_IF_ERROR(MpiStatus(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread"));
  if (provided < MPI_THREAD_FUNNELED) {
    return absl::UnavailableError("this MPI does not allow other threads beside the one that calls it");
  }
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  ENTRAIN_RETURN_IF_ERROR(MpiStatus(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "MPI_Comm_rank"));
  return MpiStatus(MPI_Comm_size(MPI_COMM_WORLD, &world_size_), "MPI_Comm_size");
}

void MpiEngine::Main() {
  for (;;) {
    std::shared_ptr<Pending> next;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return closing_ || !queue_.empty() || abort_request_.load() != 0; });
      if (abort_request_.load() == 0 && queue_.empty()) break;
      if (!queue_.empty()) {
        next = std::move(queue_.front());
        queue_.pop_front();
      }
    }
    if (const int request = abort_request_.load(); request != 0) MPI_Abort(MPI_COMM_WORLD, request - 1);
    if (next != nullptr) next->Finish(next->run());
  }
  int initialised = 0;
  MPI_Initialized(&initialised);
  if (initialised != 0) MPI_Finalize();
}

std::unique_ptr<Work> MpiEngine::Submit(std::function<absl::Status()> run) {
  auto pending = std::make_shared<Pending>();
  pending->run = std::move(run);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    queue_.push_back(pending);
  }
  wake_.notify_one();
  return std::make_unique<PendingWork>(std::move(pending));
}

absl::Status MpiEngine::Reduce(float* buffer, std::int64_t count, Combine combine) {
  if (world_size_ == 1) return absl::OkStatus();
  for (std::int64_t begin = 0; begin < count; begin += kMaxChunkFloats) {
    ENTRAIN_RETURN_IF_ERROR(ReduceChunk(buffer + begin, std::min(kMaxChunkFloats, count - begin), combine));
  }
  return absl::OkStatus();
}

// Every rank sends slice r to rank r, which combines its slice in rank order and sends the result to all. A library's own reduction
// would choose its order by hosts and message size.
absl::Status MpiEngine::ReduceChunk(float* buffer, std::int64_t count, Combine combine) {
  const Slices slices{count, world_size_};
  float* mine = buffer + slices.Begin(rank_);
  const int mine_size = slices.Size(rank_);
  received_.resize(static_cast<std::size_t>(world_size_) * static_cast<std::size_t>(mine_size));
  const auto from = [&](int rank) { return received_.data() + static_cast<std::ptrdiff_t>(rank) * mine_size; };

  std::vector<MPI_Request> requests;
  const auto add = [&](auto operation, float* place, int size, int peer) {
    requests.push_back(MPI_REQUEST_NULL);
    return MpiStatus(operation(place, size, MPI_FLOAT, peer, kTag, MPI_COMM_WORLD, &requests.back()), "exchange of slices");
  };
  for (int peer = 0; peer < world_size_; ++peer) {
    if (peer == rank_) continue;
    ENTRAIN_RETURN_IF_ERROR(add(MPI_Irecv, from(peer), mine_size, peer));
  }
  for (int peer = 0; peer < world_size_; ++peer) {
    if (peer == rank_) continue;
    ENTRAIN_RETURN_IF_ERROR(add(MPI_Isend, buffer + slices.Begin(peer), slices.Size(peer), peer));
  }
  ENTRAIN_RETURN_IF_ERROR(WaitAll(&requests, abort_request_, "exchange of slices"));

  std::copy(mine, mine + mine_size, from(rank_));
  std::copy(from(0), from(0) + mine_size, mine);
  for (int rank = 1; rank < world_size_; ++rank) combine(mine, from(rank), mine_size);

  requests.clear();
  for (int peer = 0; peer < world_size_; ++peer) {
    if (peer == rank_) continue;
    ENTRAIN_RETURN_IF_ERROR(add(MPI_Irecv, buffer + slices.Begin(peer), slices.Size(peer), peer));
  }
  for (int peer = 0; peer < world_size_; ++peer) {
    if (peer == rank_) continue;
    ENTRAIN_RETURN_IF_ERROR(add(MPI_Isend, mine, mine_size, peer));
  }
  return WaitAll(&requests, abort_request_, "gathering of slices");
}

std::unique_ptr<Work> MpiEngine::AllReduceSum(float* buffer, std::int64_t count) {
  return Submit([this, buffer, count] { return Reduce(buffer, count, Add); });
}

std::unique_ptr<Work> MpiEngine::AllReduceMax(float* buffer, std::int64_t count) {
  return Submit([this, buffer, count] { return Reduce(buffer, count, TakeMax); });
}

std::unique_ptr<Work> MpiEngine::Broadcast(void* bytes, std::int64_t size, int root) {
  return Submit([this, bytes, size, root]() -> absl::Status {
    for (std::int64_t begin = 0; begin < size; begin += kMaxChunkBytes) {
      std::vector<MPI_Request> request(1);
      const int count = static_cast<int>(std::min(kMaxChunkBytes, size - begin));
      const int code =
          MPI_Ibcast(static_cast<char*>(bytes) + begin, count, MPI_BYTE, root, MPI_COMM_WORLD, request.data());
      ENTRAIN_RETURN_IF_ERROR(MpiStatus(code, "broadcast"));
      ENTRAIN_RETURN_IF_ERROR(WaitAll(&request, abort_request_, "broadcast"));
    }
    return absl::OkStatus();
  });
}

std::unique_ptr<Work> MpiEngine::Barrier() {
  return Submit([this]() -> absl::Status {
    std::vector<MPI_Request> request(1);
    ENTRAIN_RETURN_IF_ERROR(MpiStatus(MPI_Ibarrier(MPI_COMM_WORLD, request.data()), "barrier"));
    return WaitAll(&request, abort_request_, "barrier");
  });
}

void MpiEngine::Abort(int exit_code) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    abort_request_ = exit_code + 1;
  }
  wake_.notify_one();
  // MPI_Abort ends this process too; if it cannot, the launcher sees this exit.
  std::this_thread::sleep_for(kAbortGrace);
  std::_Exit(exit_code);
}

}  // namespace entrain::collective
