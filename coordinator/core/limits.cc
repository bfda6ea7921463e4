// max_duration and the stall limit of runs.
#include <algorithm>

#include "base/strings.h"
#include "coordinator/core/decider.h"

namespace entrain::core {
namespace {

// The sentence, and how to stop it; empty: nothing is over yet.
void EnforceOn(Decider* d, const Run& run) {
  const domain::RunLimits& limits = run.spec->limits;
  const Attempt& attempt = *run.current;
  if (limits.max_duration_s > 0 && run.ran_ms + d->at_ms() - attempt.started_ms >= limits.max_duration_s * 1000) {
    StopGang(d, run, domain::StopKind::kTimeLimit, StrCat("it trained for limits.max_duration_s = ", limits.max_duration_s, " s"));
    return;
  }
  // Nobody hears samples while the machine or this process is away.
  if (limits.stall_limit_s <= 0 || !IsReporting(d->state(), attempt.gang.members.front().worker)) return;
  const std::int64_t* progress = d->state().progress.Find(run.id);
  const std::int64_t since_ms = std::max({attempt.started_ms, progress == nullptr ? 0 : *progress, *d->state().term_started_ms});
  if (d->at_ms() - since_ms < limits.stall_limit_s * 1000) return;
  StopGang(d, run, domain::StopKind::kStall,
           StrCat("attempt ", attempt.key.attempt, " sent no sample for limits.stall_limit_s = ", limits.stall_limit_s, " s"));
}

}  // namespace

void EnforceLimits(Decider* d) {
  std::vector<RunId> due;
  for (const auto& [deadline, present] : d->state().deadlines) {
    if (deadline.first > d->at_ms()) break;
    due.push_back(deadline.second);
  }
  for (const RunId& id : due) {
    const Run run = *d->state().FindRun(id);
    if (run.state == domain::RunState::kRunning && run.current != nullptr) EnforceOn(d, run);
  }
}

void On(Decider* d, const domain::RunProgressed& event) {
  if (!IsCurrent(d->state(), event.key)) return;
  const Run& run = *d->state().FindRun(event.key.run);
  if (run.state == domain::RunState::kRunning && run.spec->limits.stall_limit_s > 0) d->Emit(domain::ProgressHeard{run.id});
}

}  // namespace entrain::core
