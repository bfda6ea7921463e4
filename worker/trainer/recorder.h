// Rank 0's side of the attempt folder: events, and checkpoints written by a thread of their own.
#pragma once

#include <cstdint>
#include <mutex>
#include <thread>

#include "absl/status/status.h"
#include "worker/attempt/attempt_folder.h"
#include "worker/trainer/checkpoint.h"

namespace entrain::trainer {

class Recorder {
 public:
  // Keeps the newest `keep_checkpoints` checkpoints and the best (0: all; then whoever reads the folder deletes them).
  Recorder(const attempt::AttemptFolder& folder, std::int64_t keep_checkpoints);
  // Waits for a write under way.
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  // Thread-safe.
  absl::Status Record(const attempt::AttemptEvent& event);

  // Starts a write; its event is recorded when it is complete. None may be under way. The views stay valid until WaitForCheckpoint.
  void StartCheckpoint(CheckpointContent content);
  absl::Status WaitForCheckpoint();
  // The first failure of any write so far; does not wait.
  absl::Status CheckpointStatus() const;

 private:
  void WriteAndRecord(const CheckpointContent& content);

  attempt::AttemptFolder folder_;
  std::int64_t keep_checkpoints_;
  mutable std::mutex mutex_;
  attempt::EventWriter events_;       // guarded by mutex_
  absl::Status checkpoint_status_;    // guarded by mutex_
  std::thread writer_;
};

}  // namespace entrain::trainer
