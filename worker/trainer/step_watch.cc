#include "worker/trainer/step_watch.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <utility>

#include "base/files.h"
#include "base/strings.h"

namespace entrain::trainer {
namespace {

constexpr auto kTouchInterval = std::chrono::seconds(1);

void Touch(const std::string& path) {
  if (::utimensat(AT_FDCWD, path.c_str(), nullptr, 0) != 0) (void)WriteFileAtomically(path, "");
}

}  // namespace

StepWatch::StepWatch(std::string heartbeat_path, const Clock* clock, std::function<void(const std::string&)> on_hung)
    : path_(std::move(heartbeat_path)), clock_(clock), on_hung_(std::move(on_hung)) {
  progress_ms_ = clock_->BootMs();
  Touch(path_);
  thread_ = std::thread([this] { Main(); });
}

StepWatch::~StepWatch() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ending_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void StepWatch::Progress() {
  const std::lock_guard<std::mutex> lock(mutex_);
  progress_ms_ = clock_->BootMs();
}

void StepWatch::StepDone(std::chrono::nanoseconds limit) {
  const std::lock_guard<std::mutex> lock(mutex_);
  ++steps_;
  limit_ms_ = std::chrono::duration_cast<std::chrono::milliseconds>(limit).count();
  progress_ms_ = clock_->BootMs();
}

void StepWatch::Suspend() {
  const std::lock_guard<std::mutex> lock(mutex_);
  suspended_ = true;
}

void StepWatch::Resume() {
  const std::lock_guard<std::mutex> lock(mutex_);
  suspended_ = false;
  progress_ms_ = clock_->BootMs();
}

void StepWatch::Main() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!wake_.wait_for(lock, kTouchInterval, [this] { return ending_; })) {
    lock.unlock();
    Touch(path_);
    Look();
    lock.lock();
  }
}

void StepWatch::Look() {
  std::string hung;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!on_hung_ || told_ || suspended_ || steps_ == 0) return;
    const std::int64_t waited_ms = clock_->BootMs() - progress_ms_;
    if (waited_ms < limit_ms_) return;
    told_ = true;
    hung = StrCat("no progress for ", waited_ms, " ms after step ", steps_, " of this attempt (limit ", limit_ms_, " ms): the step hangs");
  }
  on_hung_(hung);
}

}  // namespace entrain::trainer
