#include "cli/errands.h"

#include <utility>

namespace entrain::cli {

Errands::Errands() : thread_([this] { Run(); }) {}

Errands::~Errands() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Errands::Add(std::function<void()> errand, bool urgent) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (urgent) waiting_.push_front(std::move(errand));
    else waiting_.push_back(std::move(errand));
  }
  changed_.notify_all();
}

void Errands::Run() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
    if (ending_) return;
    const std::function<void()> errand = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    errand();
    lock.lock();
  }
}

}  // namespace entrain::cli
