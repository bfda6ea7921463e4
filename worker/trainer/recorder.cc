#include "worker/trainer/recorder.h"

#include <utility>

#include "base/check.h"

namespace entrain::trainer {

Recorder::Recorder(const attempt::AttemptFolder& folder, std::int64_t keep_checkpoints)
    : folder_(folder), keep_checkpoints_(keep_checkpoints), events_(folder) {}

Recorder::~Recorder() {
  if (writer_.joinable()) writer_.join();
}

absl::Status Recorder::Record(const attempt::AttemptEvent& event) {
  std::lock_guard<std::mutex> lock(mutex_);
  return events_.Append(event);
}

void Recorder::StartCheckpoint(CheckpointContent content) {
  ENTRAIN_CHECK(!writer_.joinable());
  writer_ = std::thread([this, content = std::move(content)] { WriteAndRecord(content); });
}

void Recorder::WriteAndRecord(const CheckpointContent& content) {
  absl::StatusOr<attempt::CheckpointWritten> written = WriteCheckpoint(folder_, content);
  absl::Status status = written.status();
  if (status.ok()) written->best_step = content.state.best_eval_step;
  if (status.ok()) status = Record(*written);
  if (status.ok()) status = PruneCheckpoints(folder_, keep_checkpoints_, content.state.best_eval_step);
  std::lock_guard<std::mutex> lock(mutex_);
  checkpoint_status_.Update(status);
}

absl::Status Recorder::WaitForCheckpoint() {
  if (writer_.joinable()) writer_.join();
  return CheckpointStatus();
}

absl::Status Recorder::CheckpointStatus() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return checkpoint_status_;
}

}  // namespace entrain::trainer
