#include "sim/people.h"

#include <algorithm>
#include <utility>

#include "coordinator/core/edit.h"
#include "sim/script.h"

namespace entrain::sim {
namespace {

constexpr std::int64_t kMeddleMs = 2'000;
constexpr std::int64_t kSettleMs = 3'000;

struct ShapeChoice {
  std::int64_t machines;
  std::int64_t ranks;
};
constexpr ShapeChoice kShapes[] = {{1, 1}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, {1, 2}, {1, 2}, {1, 3}, {2, 1}, {2, 2}, {3, 2}, {1, 4}};

}  // namespace

domain::SweepSpec People::SomeSweep(std::int64_t runs) {
  domain::SweepSpec spec;
  spec.name = StrCat("sweep", sweeps_.size());
  constexpr const char* kOwners[] = {"ann", "bob", "eve"};
  spec.owner = kOwners[stage_->rng().Below(3)];
  spec.yaml = "text";
  spec.priority = stage_->rng().Below(2) == 0 ? 0 : stage_->Between(-1, 2);
  if (stage_->rng().Below(3) == 0) {
    spec.early_stopping = {stage_->rng().Below(2) == 0 ? domain::Halving::kAsync : domain::Halving::kSync, domain::RungMetric::kTrainLoss,
                           stage_->Between(3, 8), stage_->Between(2, 3), 3};
  }
  const std::int64_t stall_limit_s = stage_->rng().Below(3) == 0 ? stage_->Between(10, 30) : 0;
  const std::int64_t max_duration_s = stage_->rng().Below(6) == 0 ? stage_->Between(5, 40) : 0;
  spec.max_concurrent_runs = stage_->rng().Below(3) == 0 ? stage_->Between(1, 3) : 0;
  for (std::int64_t i = 0; i < runs; ++i) {
    ShapeChoice shape = kShapes[stage_->rng().Below(std::size(kShapes))];
    if (stage_->rng().Below(60) == 0) shape = {1, 8};  // no machine is that large
    spec.runs.push_back(MakeSpec(StrCat(sweeps_.size(), ".", i), shape.machines, shape.ranks, stage_->Between(8, 60)));
    spec.runs.back().retries.max_failures = stage_->Between(0, 3);
    spec.runs.back().limits = {max_duration_s, stall_limit_s};
    spec.runs.back().early_stopping = spec.early_stopping;
  }
  return spec;
}

void People::SubmitSome(std::int64_t runs, std::int64_t within_ms) {
  while (runs > 0) {
    const std::int64_t some = std::min(runs, stage_->Between(2, 6));
    SubmitAfter(stage_->Between(100, within_ms), SomeSweep(some));
    runs -= some;
  }
  Meddle();
}

void People::SubmitCrowd() {
  domain::SweepSpec gang = SomeSweep(0);
  gang.owner = "ann";
  gang.priority = gang.max_concurrent_runs = 0;
  gang.early_stopping = {};
  gang.runs.push_back(MakeSpec("gang", 2, 2, 10));
  SubmitAfter(12'000, gang);
  for (std::int64_t at_ms = 1'000; at_ms < 110'000; at_ms += 9'000) {
    domain::SweepSpec small = SomeSweep(0);
    small.owner = at_ms % 2 == 0 ? "bob" : "ann";
    small.priority = small.max_concurrent_runs = 0;
    small.early_stopping = {};
    const std::int64_t runs = at_ms < 2'000 ? 16 : 7;
    for (std::int64_t i = 0; i < runs; ++i) {
      small.runs.push_back(MakeSpec(StrCat("crowd", at_ms, ".", i), 1, 1, stage_->Between(35, 60)));
      small.runs.back().variant = kLongVariant;
    }
    SubmitAfter(at_ms, small);
  }
}

void People::SubmitAfter(std::int64_t delay_ms, domain::SweepSpec spec) {
  runs_ += static_cast<std::int64_t>(spec.runs.size());
  sweeps_.push_back({StrCat("key", sweeps_.size()), std::move(spec), false});
  stage_->timeline().After(delay_ms, [this, wish = sweeps_.size() - 1] { Try(wish); });
}

domain::SubmitSweep People::EventOf(const Wish& wish) {
  domain::SubmitSweep event;
  event.request = ++requests_;
  event.proposed_id = SweepId(StrCat("s", event.request));
  event.idempotency_key = wish.key;
  event.spec = wish.spec;
  return event;
}

void People::Try(std::size_t wish) {
  if (sweeps_[wish].answered) return;
  network_->Call([this, wish] {
    const domain::SubmitSweep event = EventOf(sweeps_[wish]);
    coordinator_->Request(event, event.request, [this, wish](const domain::Reply& reply) { Heard(wish, reply); });
  });
  stage_->timeline().After(stage_->Between(1'000, 6'000), [this, wish] { Try(wish); });
}

void People::Heard(std::size_t wish, const domain::Reply& reply) {
  if (!reply.status.ok()) {
    if (reply.status.code() != absl::StatusCode::kAborted) stage_->Break("a submit was refused: ", reply.status.ToString());
    return;
  }
  stage_->Note("people: ", sweeps_[wish].key, " is admitted as ", reply.id);
  referee_->Promised(SweepId(reply.id), core::ContentHash(sweeps_[wish].spec));
  if (std::exchange(sweeps_[wish].answered, true)) return;
  ++answered_;
  if (stage_->rng().Below(3) == 0) stage_->timeline().After(stage_->Between(100, 30'000), [this, wish] { TryAgain(wish, false); });
  if (stage_->rng().Below(3) == 0) stage_->timeline().After(stage_->Between(100, 30'000), [this, wish] { TryAgain(wish, true); });
}

void People::TryAgain(std::size_t wish, bool other_content) {
  domain::SubmitSweep event = EventOf(sweeps_[wish]);
  if (other_content) event.spec.runs.front().steps += 1;
  const std::string content = core::ContentHash(event.spec);
  coordinator_->Request(event, event.request, [this, other_content, content](const domain::Reply& reply) {
    if (other_content && reply.status.ok()) stage_->Break("a key was accepted a second time for another content");
    if (!other_content) referee_->Promised(SweepId(reply.id), content);
  });
}

RunId People::SomeRun() {
  const samples::PublishedState::View state = coordinator_->state();
  if (state->runs.empty() || stage_->rng().Below(50) == 0) return RunId("r-none");
  // Half of the time one in a state that does not last.
  std::vector<RunId> passing;
  for (const auto& [id, run] : state->runs) {
    const bool held = run->state == domain::RunState::kQueued && (run->not_before_ms != 0 || run->current != nullptr);
    if (held || run->pending_end.has_value() || run->state == domain::RunState::kStopping) passing.push_back(id);
  }
  if (!passing.empty() && stage_->rng().Below(2) == 0) return passing[stage_->rng().Below(passing.size())];
  auto at = state->runs.begin();
  for (std::uint64_t skip = stage_->rng().Below(state->runs.size()); skip > 0; --skip) ++at;
  return at->first;
}

void People::Act(const RunId& run, domain::RunAction action) {
  domain::ActOnRun event{++requests_, run, action, "ann"};
  coordinator_->Request(event, event.request, [](const domain::Reply&) {});
}

void People::ActOn(const WorkerId& worker, domain::WorkerAction action) {
  domain::ActOnWorker event{++requests_, worker, action, "ann", ""};
  coordinator_->Request(event, event.request, [](const domain::Reply&) {});
}

void People::Meddle() {
  if (!stage_->faults()) return;
  constexpr domain::RunAction kActions[] = {domain::RunAction::kPause, domain::RunAction::kResume, domain::RunAction::kPause,
                                            domain::RunAction::kResume, domain::RunAction::kStop};
  const std::uint64_t choice = stage_->rng().Below(7);
  const RunId run = SomeRun();
  if (choice < 5) {
    Act(run, kActions[choice]);
    // In a hurry: the next wish about the same run meets it on its way.
    if (stage_->rng().Below(3) == 0) Act(run, kActions[stage_->rng().Below(5)]);
  } else if (choice == 5) {
    domain::RetryRun event{++requests_, run, "ann"};
    coordinator_->Request(event, event.request, [](const domain::Reply&) {});
  } else if (stage_->rng().Below(2) == 0) {
    const WorkerId worker(stage_->rng().Below(20) == 0 ? "w-none" : StrCat("w", stage_->Between(1, 5)));
    constexpr domain::WorkerAction kWishes[] = {domain::WorkerAction::kQuarantine, domain::WorkerAction::kRelease, domain::WorkerAction::kForget};
    ActOn(worker, kWishes[stage_->rng().Below(3)]);
  }
  stage_->timeline().After(stage_->Between(100, 2 * kMeddleMs), [this] { Meddle(); });
}

void People::Settle() {
  const samples::PublishedState::View state = coordinator_->state();
  for (const auto& [id, run] : state->runs) {
    // What waits at a rung is the core's to promote or prune.
    if (run->state == domain::RunState::kPaused && !run->paused_at_rung) Act(id, domain::RunAction::kResume);
    if (run->wait.has_value() && run->wait->never) Act(id, domain::RunAction::kStop);
  }
  for (const auto& [id, worker] : state->workers) {
    if (worker->quarantined && worker->quarantined_until_ms == 0) ActOn(id, domain::WorkerAction::kRelease);
  }
  stage_->timeline().After(kSettleMs, [this] { Settle(); });
}

}  // namespace entrain::sim
