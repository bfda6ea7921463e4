#include "worker/agent/keyed_tasks.h"

namespace entrain::agent {

KeyedTasks::KeyedTasks(int threads) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Work(); });
}

KeyedTasks::~KeyedTasks() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void KeyedTasks::Add(const std::string& key, std::function<void()> task) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    Queue& queue = queues_[key];
    queue.tasks.push_back(std::move(task));
    if (!queue.running && queue.tasks.size() == 1) ready_.push_back(key);
  }
  changed_.notify_one();
}

bool KeyedTasks::Idle() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return queues_.empty();
}

void KeyedTasks::Work() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ending_ || !ready_.empty(); });
    if (ending_) return;
    const std::string key = ready_.front();
    ready_.pop_front();
    Queue& queue = queues_[key];
    queue.running = true;
    std::function<void()> task = std::move(queue.tasks.front());
    queue.tasks.pop_front();
    lock.unlock();
    task();
    task = nullptr;
    lock.lock();
    Queue& after = queues_[key];
    after.running = false;
    if (after.tasks.empty()) {
      queues_.erase(key);
    } else {
      ready_.push_back(key);
      changed_.notify_one();
    }
  }
}

}  // namespace entrain::agent
