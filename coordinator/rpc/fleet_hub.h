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
#include <string>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "coordinator/samples/published_state.h"
#include "domain/effect.h"
#include "entrain/v1/fleet_service.pb.h"
#include "transport/signature.h"

namespace entrain::rpc {

// One stream's outgoing queue.
class WorkerConnection {
 public:
  // `cancel` ends the stream; called at most once, never after Detach.
  WorkerConnection(std::uint64_t incarnation, std::function<void()> cancel, std::string peer_address = "")
      : incarnation_(incarnation), peer_address_(std::move(peer_address)), cancel_(std::move(cancel)) {}

  std::uint64_t incarnation() const { return incarnation_; }
  // Of the worker's peer service; empty: it has none.
  const std::string& peer_address() const { return peer_address_; }
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
  const std::string peer_address_;
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
                                                            std::function<void()> cancel, std::string peer_address = "");
  void Disconnect(const WorkerId& worker, const std::shared_ptr<WorkerConnection>& connection);

  // To the worker's stream; dropped when it has none (its next WorkerJoined brings the difference).
  // Not to a stream that began after the launch was decided (core::IsStillMeant).
  void Send(const domain::LaunchAttempt& effect);
  void Send(const domain::StopAttempt& effect);
  void Send(const domain::ForgetAttempt& effect);
  void Send(const domain::AcknowledgeReport& effect);

  // What the tokens of gangs over several machines are checked against; empty when this process could make no key.
  std::string peer_key() const { return signer_.ok() ? signer_->public_key() : ""; }

  // Ends every stream and takes no more.
  void Close();

 private:
  std::shared_ptr<WorkerConnection> ConnectionOf(const WorkerId& worker);
  void Push(const WorkerId& worker, v1::CoordinatorMessage message);
  // How the machines of a gang find each other, and the token by which its head may ask the others.
  void Authorise(const core::State& state, v1::Launch* launch);

  const samples::PublishedState* const published_;
  const absl::StatusOr<transport::SigningKey> signer_ = transport::SigningKey::Make();
  std::mutex mutex_;
  std::map<WorkerId, std::shared_ptr<WorkerConnection>> connections_;
  bool closed_ = false;
};

}  // namespace entrain::rpc
