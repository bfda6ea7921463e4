#include "coordinator/server/core_loop.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <variant>

#include "base/status_macros.h"
#include "coordinator/server/replay_ahead.h"

namespace entrain::server {
namespace {

// Events of one transaction: bounds how long the first of a burst waits for its answer.
constexpr std::size_t kMaxBatchEvents = 512;
constexpr std::int64_t kTickIntervalMs = 500;
// Heartbeats that led to nothing durable are stored in groups of this many.
constexpr std::size_t kMaxUnstoredEvents = 4096;

bool AnyDurable(const std::vector<domain::Fact>& facts) {
  return std::any_of(facts.begin(), facts.end(), [](const domain::Fact& fact) { return !domain::IsTransient(fact); });
}

double Seconds(std::int64_t ns) { return static_cast<double>(ns) / 1e9; }

}  // namespace

absl::Status CoreLoop::Recover() {
  ENTRAIN_RETURN_IF_ERROR(ReplayAhead(journal_, [this](domain::Fact fact) {
    core::Apply(&state_, fact);
    snapshots_.Add(std::move(fact));
  }));
  ENTRAIN_ASSIGN_OR_RETURN(const std::int64_t last_event_ms, journal_->LastEventMs());
  base_ms_ = std::max(last_event_ms, state_.at_ms);
  boot_at_base_ms_ = clock_->BootMs();
  published_->Publish(std::make_shared<core::State>(state_));
  return absl::OkStatus();
}

void CoreLoop::SendRecoveryEffects(const EffectSink& sink) {
  for (const domain::Effect& effect : core::EffectsAfterRecovery(state_)) sink(effect);
}

absl::Status CoreLoop::Run(EventQueue* queue, const EffectSink& sink) {
  const absl::Status status = Loop(queue, sink);
  copy_.Close();
  return status;
}

absl::Status CoreLoop::Loop(EventQueue* queue, const EffectSink& sink) {
  std::int64_t last_tick_ms = clock_->BootMs() - kTickIntervalMs;
  for (;;) {
    const bool closing = queue->closed();
    std::vector<EventBody> bodies = queue->Take(kMaxBatchEvents, copy_.wanted() ? 0 : kTickIntervalMs);
    if (closing && bodies.empty()) break;
    if (clock_->BootMs() - last_tick_ms >= kTickIntervalMs) {
      last_tick_ms = clock_->BootMs();
      bodies.emplace_back(domain::Tick{});
    }
    ENTRAIN_RETURN_IF_ERROR(Step(std::move(bodies), sink));
    copy_.Advance(journal_);
  }
  if (!unstored_events_.empty()) ENTRAIN_RETURN_IF_ERROR(Commit({}));
  snapshots_.Finish();
  return absl::OkStatus();
}

absl::Status CoreLoop::Step(std::vector<EventBody> bodies, const EffectSink& sink) {
  const std::int64_t begin_ns = clock_->BootNs();
  core::State next = state_;
  std::vector<domain::Fact> facts;
  std::vector<domain::Effect> effects;
  for (EventBody& body : bodies) {
    domain::Event event{NowMs(), clock_->WallMs(), std::move(body)};
    core::Decision decision = core::Decide(std::move(next), event);
    next = std::move(decision.after);
    if (metrics_ != nullptr) metrics_->CountEvent(std::string(store::KindOf(event)));
    std::move(decision.effects.begin(), decision.effects.end(), std::back_inserter(effects));
    // An event without facts changed nothing, so a re-decision does not need it.
    if (decision.facts.empty()) continue;
    std::move(decision.facts.begin(), decision.facts.end(), std::back_inserter(facts));
    unstored_events_.push_back(std::move(event));
  }
  if (metrics_ != nullptr) metrics_->ObserveDecision(Seconds(clock_->BootNs() - begin_ns));
  if (AnyDurable(facts) || unstored_events_.size() > kMaxUnstoredEvents) ENTRAIN_RETURN_IF_ERROR(Commit(facts));
  if (!facts.empty()) {
    state_ = std::move(next);
    published_->Publish(std::make_shared<core::State>(state_));
  }
  for (const domain::Effect& effect : effects) sink(effect);
  Count(facts);
  for (domain::Fact& fact : facts) snapshots_.Add(std::move(fact));
  snapshots_.Advance();
  return absl::OkStatus();
}

absl::Status CoreLoop::Commit(const std::vector<domain::Fact>& facts) {
  const std::int64_t begin_ns = clock_->BootNs();
  ENTRAIN_RETURN_IF_ERROR(journal_->Commit(unstored_events_, facts));
  unstored_events_.clear();
  if (metrics_ != nullptr) {
    metrics_->ObserveCommit(Seconds(clock_->BootNs() - begin_ns), static_cast<std::int64_t>(facts.size()));
  }
  return absl::OkStatus();
}

void CoreLoop::Count(const std::vector<domain::Fact>& facts) {
  if (on_fact_) std::for_each(facts.begin(), facts.end(), on_fact_);
  if (metrics_ != nullptr) counts_.Add(facts, state_, metrics_);
}

}  // namespace entrain::server
