// Slow work (starting, killing, publishing, deleting) beside the loop: tasks of one key run one after another, in order; tasks of
// different keys side by side.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace entrain::agent {

// Thread-safe. The destructor lets every task finish that has begun and drops the others.
class KeyedTasks {
 public:
  explicit KeyedTasks(int threads);
  ~KeyedTasks();
  KeyedTasks(const KeyedTasks&) = delete;
  KeyedTasks& operator=(const KeyedTasks&) = delete;

  void Add(const std::string& key, std::function<void()> task);
  // Nothing runs and nothing waits.
  bool Idle();

 private:
  struct Queue {
    bool running = false;
    std::deque<std::function<void()>> tasks;
  };
  void Work();

  std::mutex mutex_;
  std::condition_variable changed_;
  bool ending_ = false;
  std::map<std::string, Queue> queues_;
  std::deque<std::string> ready_;  // keys with a task and none running
  std::vector<std::thread> threads_;
};

}  // namespace entrain::agent
