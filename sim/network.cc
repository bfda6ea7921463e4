#include "sim/network.h"

#include <algorithm>
#include <utility>

namespace entrain::sim {
namespace {

// What opens a stream, or belongs to the stream of samples, is not overtaken; only reports and commands are.
bool KeepsOrder(const ToCoordinator& message) { return !std::holds_alternative<worker::Report>(message); }
bool KeepsOrder(const ToWorker& message) {
  return std::holds_alternative<Welcome>(message) || std::holds_alternative<Refused>(message) || std::holds_alternative<SampleAck>(message);
}
bool MayBeDoubled(const ToCoordinator& message) {
  return std::holds_alternative<worker::Report>(message) || std::holds_alternative<SampleBatch>(message);
}
bool MayBeDoubled(const ToWorker& message) { return !std::holds_alternative<Welcome>(message) && !std::holds_alternative<Refused>(message); }

}  // namespace

std::int64_t Network::DelayMs() {
  if (stage_->Chance(stage_->weather().slow_per_mille)) return stage_->Between(500, 14'000);
  return stage_->Between(1, 20);
}

std::int64_t Network::Arrival(bool* lost, bool cut, bool keeps_order, std::int64_t* last_ms) {
  if (cut || stage_->Chance(stage_->weather().lose_per_mille)) *lost = true;
  if (*lost) return -1;
  std::int64_t at_ms = stage_->now_ms() + DelayMs();
  if (keeps_order || !stage_->weather().reorder) at_ms = std::max(at_ms, *last_ms);
  *last_ms = std::max(*last_ms, at_ms);
  return at_ms;
}

void Network::Up(const ConnectionPtr& connection, ToCoordinator message) {
  const bool doubled = MayBeDoubled(message) && stage_->Chance(stage_->weather().duplicate_per_mille);
  for (int copy = 0; copy < (doubled ? 2 : 1); ++copy) {
    const std::int64_t at_ms =
        Arrival(&connection->lost_up, cut_up_.contains(connection->worker), KeepsOrder(message), &connection->last_up_ms);
    if (at_ms < 0) return;
    stage_->timeline().After(at_ms - stage_->now_ms(), [this, connection, message] {
      if (cut_up_.contains(connection->worker)) connection->lost_up = true;
      if (!connection->lost_up) to_coordinator_(connection, message);
    });
  }
}

void Network::Down(const ConnectionPtr& connection, ToWorker message) {
  const bool doubled = MayBeDoubled(message) && stage_->Chance(stage_->weather().duplicate_per_mille);
  for (int copy = 0; copy < (doubled ? 2 : 1); ++copy) {
    const std::int64_t at_ms =
        Arrival(&connection->lost_down, cut_down_.contains(connection->worker), KeepsOrder(message), &connection->last_down_ms);
    if (at_ms < 0) return;
    stage_->timeline().After(at_ms - stage_->now_ms(), [this, connection, message] {
      if (cut_down_.contains(connection->worker)) connection->lost_down = true;
      if (!connection->lost_down) to_worker_.at(connection->worker)(connection, message);
    });
  }
}

void Network::Call(Timeline::Action action) {
  if (stage_->Chance(stage_->weather().lose_per_mille * 5)) return;
  stage_->timeline().After(DelayMs(), std::move(action));
}

void Network::Cut(const WorkerId& worker, bool up, bool down) {
  if (up) cut_up_.insert(worker);
  if (down) cut_down_.insert(worker);
}

void Network::Heal() {
  cut_up_.clear();
  cut_down_.clear();
}

}  // namespace entrain::sim
