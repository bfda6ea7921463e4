// The workers' open control streams, and the way of the core's effects to them. Thread-safe; nothing here blocks the core: a worker
// that does not read loses its stream, and connects again.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "coordinator/samples/published_state.h"
#include "domain/effect.h"
#include "entrain/v1/fleet_service.pb.h"

namespace entrain::rpc {

// One stream's outgoing queue.
class WorkerConnection {
 public:
  // `cancel` ends the stream; called at most once, never after Detach.
  WorkerConnection(std::uint64_t incarnation, std::function<void()> cancel)
      : incarnation_(incarnation), cancel_(std::move(cancel)) {}

  std::uint64_t incarnation() const { return incarnation_; }
  // Ends the stream when its queue is full.
  void Push(v1::CoordinatorMessage message);
  // Waits for the next message; nullopt once closed.
  std::optional<v1::CoordinatorMessage> Next();
  // Ends the stream; what waits is dropped.
  void Close();
  // The stream's handler is about to return.
  void Detach();

 private:
  const std::uint64_t incarnation_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::function<void()> cancel_;
  std::deque<v1::CoordinatorMessage> queue_;
  bool closed_ = false;
};

class FleetHub {
 public:
  explicit FleetHub(const samples::PublishedState* published) : published_(published) {}

  // The worker's stream from now on; an older one is ended. ALREADY_EXISTS when the one there is as new or newer.
  absl::StatusOr<std::shared_ptr<WorkerConnection>> Connect(const WorkerId& worker, std::uint64_t incarnation,
                                                            std::function<void()> cancel);
  void Disconnect(const WorkerId& worker, const std::shared_ptr<WorkerConnection>& connection);

  // To the worker's stream; dropped when it has none (its next WorkerJoined brings the difference).
  void Send(const domain::LaunchAttempt& effect);
  void Send(const domain::StopAttempt& effect);
  void Send(const domain::ForgetAttempt& effect);
  void Send(const domain::AcknowledgeReport& effect);

  // Ends every stream and takes no more.
  void Close();

 private:
  void Push(const WorkerId& worker, v1::CoordinatorMessage message);

  const samples::PublishedState* const published_;
  std::mutex mutex_;
  std::map<WorkerId, std::shared_ptr<WorkerConnection>> connections_;
  bool closed_ = false;
};

}  // namespace entrain::rpc
