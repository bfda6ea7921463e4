#include "coordinator/store/group_writer.h"

#include "base/status_macros.h"

namespace entrain::store {

absl::Status GroupWriter::Run(const Write& write) {
  Pending self{&write, absl::OkStatus(), false};
  std::unique_lock<std::mutex> lock(mutex_);
  queue_.push_back(&self);
  changed_.wait(lock, [&] { return self.done || !leading_; });
  if (self.done) return self.status;

  leading_ = true;
  std::vector<Pending*> batch;
  batch.swap(queue_);
  lock.unlock();
  const absl::Status status = database_->Transact([&]() -> absl::Status {
    for (const Pending* pending : batch) ENTRAIN_RETURN_IF_ERROR((*pending->write)());
    return absl::OkStatus();
  });
  lock.lock();
  for (Pending* pending : batch) {
    pending->status = status;
    pending->done = true;
  }
  leading_ = false;
  changed_.notify_all();
  return status;
}

}  // namespace entrain::store
