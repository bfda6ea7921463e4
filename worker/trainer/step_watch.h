// A thread of each rank, beside the training thread: it touches the rank's heartbeat file once a second, which says that the process runs,
// and at rank 0 it ends a gang whose step hangs. What a rank waits for shows at rank 0, since every step ends in a reduction.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "base/clock.h"

namespace entrain::trainer {

class StepWatch {
 public:
  // `on_hung` (empty: hung steps are not looked for) is called once, on the watch's thread, with a sentence for people.
  StepWatch(std::string heartbeat_path, const Clock* clock, std::function<void(const std::string&)> on_hung);
  ~StepWatch();
  StepWatch(const StepWatch&) = delete;
  StepWatch& operator=(const StepWatch&) = delete;

  // The training thread, at every sign of progress: within a long step or evaluation as well.
  void Progress();
  // A step is complete, and the next may take so long (StepLimit says). Before the first nothing counts as hung: what precedes it (loading,
  // compiling) has no measure.
  void StepDone(std::chrono::nanoseconds limit);
  // The disk's time is not the step's: until Resume nothing counts as hung.
  void Suspend();
  void Resume();

 private:
  void Main();
  void Look();

  const std::string path_;
  const Clock* const clock_;
  const std::function<void(const std::string&)> on_hung_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool ending_ = false;
  bool suspended_ = false;
  bool told_ = false;
  std::int64_t steps_ = 0;
  std::int64_t progress_ms_ = 0;
  std::int64_t limit_ms_ = 0;
  std::thread thread_;
};

}  // namespace entrain::trainer
