#include "sim/retention.h"

#include <utility>

namespace entrain::sim {
namespace {

constexpr std::uint64_t kPassMs = 6'000;

}  // namespace

void Retention::Begin() {
  stage_->timeline().After(static_cast<std::int64_t>(rng_.Below(kPassMs)), [this] {
    if (coordinator_->running()) Pass();
    Begin();
  });
}

void Retention::Pass() {
  const samples::PublishedState::View state = coordinator_->state();
  for (const auto& [id, sweep] : state->sweeps) {
    // Also of sweeps that have not ended, which is refused.
    if (rng_.Below(20) == 0) coordinator_->Ask(domain::ReleaseSweep{0, id, "retention"});
  }
  for (const auto& [id, run] : state->runs) {
    if (rng_.Below(3) != 0) continue;
    domain::RetireCheckpoints event{id, {}, "older"};
    for (const domain::Checkpoint& checkpoint : run->checkpoints) {
      if (rng_.Below(4) != 0) event.checkpoints.push_back({checkpoint.attempt, checkpoint.step});
    }
    coordinator_->Ask(std::move(event));
  }
  coordinator_->Ask(domain::RetireCheckpoints{RunId("r-none"), {{1, 1}}, "older"});
}

}  // namespace entrain::sim
