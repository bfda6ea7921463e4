#include "tests/coordinator/core/world.h"

#include <algorithm>

#include "base/strings.h"
#include "coordinator/scheduler/plan.h"

namespace entrain::core {

using domain::RunState;

void World::Break(const std::string& what) { broken_.push_back(StrCat("after event ", events_, ": ", what)); }

std::vector<domain::Effect> World::Step(const domain::Event& event) {
  ++events_;
  const State before = state_;
  Decision decision = Decide(state_, event);
  for (const domain::Fact& fact : decision.facts) {
    if (!domain::IsTransient(fact)) journal_.push_back(fact);
    Apply(&state_, fact);
  }
  for (const std::string& sentence : BrokenInvariants(state_)) Break(sentence);
  CheckTransitions(before);
  CheckProgress();
  return std::move(decision.effects);
}

void World::CheckTransitions(const State& before) {
  for (const auto& [id, old] : before.runs) {
    const Run* run = state_.FindRun(id);
    if (run == nullptr) {
      Break(StrCat("run ", id.value(), " is gone"));
      continue;
    }
    if (domain::IsFinal(old->state) && (run->state != old->state || run->reason != old->reason || run->result_step != old->result_step)) {
      Break(StrCat("final run ", id.value(), " changed from ", ToString(old->state), " to ", ToString(run->state)));
    }
    // A restore passes over the numbers that may have been given out.
    if (run->attempt < old->attempt || run->attempt > std::max(old->attempt, state_.attempt_floor) + 1) {
      Break(StrCat("run ", id.value(), " went from attempt ", old->attempt, " to ", run->attempt));
    }
    if (old->verdict.has_value() && !run->verdict.has_value()) Break(StrCat("run ", id.value(), " lost its verdict"));
  }
  for (const auto& [key, sweep] : before.sweeps_by_key) {
    if (!state_.sweeps_by_key.Contains(key)) Break(StrCat("sweep ", sweep.value(), " is gone"));
  }
}

// Nothing waits that could run now.
void World::CheckProgress() {
  const bool decided_nothing = state_.index.queue.size() == 0;
  if (decided_nothing) return;
  const scheduler::Plan plan = scheduler::MakePlan(state_.index, 1);
  for (const scheduler::Placement& placement : plan.placements) {
    Break(StrCat("run ", placement.request.run.value(), " waits although it could start on ", placement.gang.members.front().worker.value()));
  }
}

std::vector<domain::Effect> World::Restart() {
  State rebuilt(config_);
  for (const domain::Fact& fact : journal_) Apply(&rebuilt, fact);
  if (!SameStored(rebuilt, state_)) Break("the state rebuilt from the journal differs");
  state_ = rebuilt;
  for (const std::string& sentence : BrokenInvariants(state_)) Break(StrCat("rebuilt: ", sentence));
  return EffectsAfterRecovery(state_);
}

void World::RejoinAll() {
  for (const auto& [id, worker] : State(state_).workers) {
    domain::WorkerJoined joined;
    joined.info = worker->info;
    joined.incarnation = NextIncarnation(id);
    for (const auto& [key, attempt] : state_.attempts) {
      const bool head = attempt->gang.members.front().worker == id;
      if (head && !attempt->end.has_value()) joined.live_attempts.push_back(key);
    }
    Do(joined);
    Do(domain::WorkerHeartbeat{id, false});
    if (worker->quarantined) Do(domain::ActOnWorker{0, id, domain::WorkerAction::kRelease, "test", ""});
  }
}

void World::FinishAttempt(const Run& run) {
  const domain::AttemptKey key = run.current->key;
  const WorkerId head = run.current->gang.members.front().worker;
  domain::AttemptEnd end;
  end.cause = run.state == RunState::kStopping ? domain::EndCause::kStopped : domain::EndCause::kCompleted;
  end.last_step = run.spec->steps;
  Do(domain::AttemptStarted{head, next_report_++, key});
  Do(domain::AttemptEnded{head, next_report_++, key, end});
}

bool World::DriveToEnd() {
  for (int round = 0; round < 200; ++round) {
    Advance(config_.max_backoff_ms / 4 + 1);
    RejoinAll();
    Do(domain::Tick{});
    bool open = false;
    for (const auto& [id, old] : State(state_).runs) {
      const Run run = *state_.FindRun(id);
      if (domain::IsFinal(run.state) || (run.wait.has_value() && run.wait->never)) continue;
      open = true;
      if (run.state == RunState::kPaused) Do(domain::ActOnRun{0, id, domain::RunAction::kResume, "test"});
      if (run.current != nullptr && run.state != RunState::kQueued) FinishAttempt(run);
      if (const Run* now = state_.FindRun(id); now->pending_end.has_value()) {
        Do(domain::RunJudged{{id, now->attempt}, now->pending_end->last_step});
      }
    }
    if (!open) return true;
  }
  for (const auto& [id, run] : state_.runs) {
    if (!domain::IsFinal(run->state)) Break(StrCat("run ", id.value(), " does not end: it is ", ToString(run->state), ": ", run->reason));
  }
  return false;
}

domain::RunSpec MakeRunSpec(const std::string& label, std::int64_t machines, std::int64_t ranks, std::int64_t steps,
                            std::int64_t max_failures) {
  domain::RunSpec spec;
  spec.cell = CellId(StrCat("cell-", label));
  spec.label = label;
  spec.variant = "SM+G";
  spec.config_json = "{}";
  spec.resources.machines = machines;
  spec.resources.ranks_per_machine = ranks;
  spec.steps = steps;
  spec.retries.max_failures = max_failures;
  domain::RunSpec rescue = spec;
  rescue.cell = CellId(StrCat("cell-", label, "r"));
  rescue.label = StrCat(label, " (rescue)");
  spec.rescue.push_back(std::move(rescue));
  return spec;
}

domain::WorkerInfo MakeWorkerInfo(const std::string& id, std::int32_t slots) {
  return {.id = WorkerId(id), .name = StrCat("host-", id), .version = "test", .slot_kind = domain::SlotKind::kCpu, .slots = slots, .device = "cpu",
          .peer_address = StrCat("host-", id, ":7071")};
}

}  // namespace entrain::core
