// Many writers, one transaction: appends that arrive while another commit is under way share the next one.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <vector>

#include "absl/status/status.h"

namespace entrain::store {

// Thread-safe. `Work` is what one caller wants written.
template <typename Work>
class GroupCommit {
 public:
  // Writes all of them in one durable transaction; called by one thread at a time.
  using CommitAll = std::function<absl::Status(const std::vector<const Work*>&)>;
  explicit GroupCommit(CommitAll commit_all) : commit_all_(std::move(commit_all)) {}

  // Returns once `work` is durable. When any of those that share the transaction fails, all do.
  absl::Status Run(const Work& work) {
    Pending self{&work, absl::OkStatus(), false};
    std::unique_lock<std::mutex> lock(mutex_);
    queue_.push_back(&self);
    changed_.wait(lock, [&] { return self.done || !leading_; });
    if (self.done) return self.status;

    leading_ = true;
    std::vector<Pending*> batch;
    batch.swap(queue_);
    lock.unlock();
    std::vector<const Work*> works;
    works.reserve(batch.size());
    for (const Pending* pending : batch) works.push_back(pending->work);
    const absl::Status status = commit_all_(works);
    lock.lock();
    for (Pending* pending : batch) {
      pending->status = status;
      pending->done = true;
    }
    leading_ = false;
    changed_.notify_all();
    return status;
  }

 private:
  struct Pending {
    const Work* work = nullptr;
    absl::Status status;
    bool done = false;
  };
  const CommitAll commit_all_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Pending*> queue_;
  bool leading_ = false;
};

}  // namespace entrain::store
