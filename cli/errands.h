// Calls that may take long, done one after another on a thread of their own, so that the screen never waits for the network.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace entrain::cli {

class Errands {
 public:
  Errands();
  // Waits for the errand under way; those that have not begun are dropped.
  ~Errands();
  Errands(const Errands&) = delete;
  Errands& operator=(const Errands&) = delete;

  // `urgent` ones go before the others.
  void Add(std::function<void()> errand, bool urgent = false);

 private:
  void Run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace entrain::cli
