#include "coordinator/server/journal_copy.h"

#include "base/status_macros.h"

namespace entrain::server {

absl::Status JournalCopy::Make(const std::string& path) {
  std::lock_guard<std::mutex> one(making_);
  std::unique_lock<std::mutex> lock(mutex_);
  if (closed_) return absl::UnavailableError("the coordinator is ending");
  path_ = path;
  result_.reset();
  changed_.wait(lock, [this] { return result_.has_value(); });
  return *result_;
}

bool JournalCopy::wanted() {
  std::lock_guard<std::mutex> lock(mutex_);
  return !path_.empty();
}

void JournalCopy::Advance(store::Journal* journal) {
  std::string path;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    path = path_;
  }
  if (path.empty()) return;
  const absl::StatusOr<bool> done = [&]() -> absl::StatusOr<bool> {
    if (copy_ == nullptr) {
      ENTRAIN_ASSIGN_OR_RETURN(copy_, journal->BeginCopy(path));
    }
    return copy_->Step();
  }();
  if (done.ok() && !*done) return;
  copy_.reset();
  std::lock_guard<std::mutex> lock(mutex_);
  path_.clear();
  result_ = done.status();
  changed_.notify_all();
}

void JournalCopy::Close() {
  copy_.reset();
  std::lock_guard<std::mutex> lock(mutex_);
  closed_ = true;
  if (path_.empty()) return;
  path_.clear();
  result_ = absl::UnavailableError("the coordinator is ending");
  changed_.notify_all();
}

}  // namespace entrain::server
