#include "coordinator/rpc/fleet_hub.h"

#include "base/log.h"
#include "base/strings.h"
#include "coordinator/core/core.h"
#include "coordinator/rpc/limits.h"
#include "proto/convert.h"

namespace entrain::rpc {

void WorkerConnection::Push(v1::CoordinatorMessage message) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (closed_) return;
    if (queue_.size() < kMaxQueuedWorkerMessages) {
      queue_.push_back(std::move(message));
      changed_.notify_all();
      return;
    }
  }
  Log(LogLevel::kWarning, "a worker does not read its control stream; ending it");
  Close();
}

std::optional<v1::CoordinatorMessage> WorkerConnection::Next() {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [&] { return closed_ || !queue_.empty(); });
  if (closed_) return std::nullopt;
  v1::CoordinatorMessage message = std::move(queue_.front());
  queue_.pop_front();
  return message;
}

void WorkerConnection::Close() {
  std::lock_guard<std::mutex> lock(mutex_);
  closed_ = true;
  queue_.clear();
  // Under the lock, so that Detach waits for it.
  if (cancel_) cancel_();
  cancel_ = nullptr;
  changed_.notify_all();
}

void WorkerConnection::Detach() {
  std::lock_guard<std::mutex> lock(mutex_);
  closed_ = true;
  cancel_ = nullptr;
  changed_.notify_all();
}

absl::StatusOr<std::shared_ptr<WorkerConnection>> FleetHub::Connect(const WorkerId& worker, std::uint64_t incarnation,
                                                                    std::function<void()> cancel, std::string peer_address) {
  std::shared_ptr<WorkerConnection> older;
  auto connection = std::make_shared<WorkerConnection>(incarnation, std::move(cancel), std::move(peer_address));
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (closed_) return absl::UnavailableError("the coordinator is shutting down");
    std::shared_ptr<WorkerConnection>& place = connections_[worker];
    if (place && place->incarnation() >= incarnation) {
      return absl::AlreadyExistsError(StrCat("worker ", worker.value(), " is connected as incarnation ", place->incarnation(),
                                             ", this one is ", incarnation));
    }
    older = std::exchange(place, connection);
  }
  if (older) older->Close();
  return connection;
}

void FleetHub::Disconnect(const WorkerId& worker, const std::shared_ptr<WorkerConnection>& connection) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto place = connections_.find(worker);
  if (place != connections_.end() && place->second == connection) connections_.erase(place);
}

std::shared_ptr<WorkerConnection> FleetHub::ConnectionOf(const WorkerId& worker) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto place = connections_.find(worker);
  return place == connections_.end() ? nullptr : place->second;
}

void FleetHub::Push(const WorkerId& worker, v1::CoordinatorMessage message) {
  if (const auto connection = ConnectionOf(worker)) connection->Push(std::move(message));
}

void FleetHub::Send(const domain::LaunchAttempt& effect) {
  const samples::PublishedState::View state = published_->Get();
  const auto connection = ConnectionOf(effect.worker);
  if (connection == nullptr || !core::IsStillMeant(*state, effect, connection->incarnation())) return;
  const core::Run* run = state->FindRun(effect.key.run);
  const core::Sweep* sweep = run == nullptr ? nullptr : state->FindSweep(run->sweep);
  v1::CoordinatorMessage message;
  *message.mutable_launch() = wire::ToWire(effect, sweep == nullptr ? "" : sweep->spec->name);
  if (message.launch().gang_size() > 1) Authorise(*state, message.mutable_launch());
  connection->Push(std::move(message));
}

void FleetHub::Authorise(const core::State& state, v1::Launch* launch) {
  for (v1::GangMember& member : *launch->mutable_gang()) {
    const WorkerId id(member.worker_id());
    if (const core::Worker* worker = state.FindWorker(id)) {
      member.set_slot_kind(std::string(wire::ToString(worker->info.slot_kind)));
      member.set_device(worker->info.device);
    }
    std::lock_guard<std::mutex> lock(mutex_);
    const auto place = connections_.find(id);
    if (place == connections_.end()) continue;
    member.set_peer_address(place->second->peer_address());
    member.set_incarnation(place->second->incarnation());
  }
  // Without a token the head says why it cannot launch.
  if (!signer_.ok()) return;
  const std::string bytes = launch->SerializeAsString();
  const absl::StatusOr<std::string> token = signer_->Sign(bytes);
  if (!token.ok()) return;
  launch->set_signed_launch(bytes);
  launch->set_peer_token(*token);
}

void FleetHub::Send(const domain::StopAttempt& effect) {
  v1::CoordinatorMessage message;
  *message.mutable_stop()->mutable_key() = wire::ToWire(effect.key);
  message.mutable_stop()->set_checkpoint(effect.mode == domain::StopMode::kCheckpoint);
  message.mutable_stop()->set_reason(effect.reason);
  Push(effect.worker, std::move(message));
}

void FleetHub::Send(const domain::ForgetAttempt& effect) {
  v1::CoordinatorMessage message;
  *message.mutable_forget()->mutable_key() = wire::ToWire(effect.key);
  Push(effect.worker, std::move(message));
}

void FleetHub::Send(const domain::AcknowledgeReport& effect) {
  v1::CoordinatorMessage message;
  message.mutable_acknowledged()->set_report(effect.report);
  Push(effect.worker, std::move(message));
}

void FleetHub::Close() {
  std::map<WorkerId, std::shared_ptr<WorkerConnection>> connections;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    closed_ = true;
    connections.swap(connections_);
  }
  for (const auto& [worker, connection] : connections) connection->Close();
}

}  // namespace entrain::rpc
