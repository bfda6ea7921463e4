// From the scheduler's plan to facts: the plan is checked again against the state, then each gang is launched.
#include <algorithm>
#include <set>

#include "base/check.h"
#include "base/strings.h"
#include "coordinator/core/decider.h"
#include "coordinator/core/edit.h"
#include "coordinator/core/explain.h"
#include "coordinator/scheduler/placement.h"
#include "coordinator/scheduler/plan.h"

namespace entrain::core {
namespace {

// How many of those next in line have their reason looked at twice a second; all have when they enter the queue and when the fleet
// changes, and DescribeWait tells it at any time.
constexpr std::size_t kStoredInLine = 4;

// The plan is our own: a wrong one is a bug, not something to work around.
void CheckPlacement(const State& state, const scheduler::Placement& placement) {
  const Run* run = state.FindRun(placement.request.run);
  ENTRAIN_CHECK_MSG(run != nullptr && InQueue(*run), placement.request.run.value());
  std::int64_t slots = 0;
  for (const domain::GangMember& member : placement.gang.members) {
    const Worker* worker = state.FindWorker(member.worker);
    ENTRAIN_CHECK_MSG(IsReporting(state, member.worker) && !worker->draining && !worker->quarantined, member.worker.value());
    for (const std::int32_t slot : member.slots) {
      ENTRAIN_CHECK_MSG(worker->slots.at(static_cast<std::size_t>(slot)).attempt == 0, StrCat(member.worker.value(), " slot ", slot));
    }
    slots += static_cast<std::int64_t>(member.slots.size());
  }
  ENTRAIN_CHECK_MSG(slots == run->spec->resources.WorldSize(), run->id.value());
}

void Launch(Decider* d, const scheduler::Placement& placement) {
  CheckPlacement(d->state(), placement);
  const RunId& id = placement.request.run;
  // A machine taken for lost may still hold the attempt before; from here on that one is replaced.
  AbandonCurrentAttempt(d, id, "its machine was silent; a successor was placed");
  const Run& run = *d->state().FindRun(id);
  const domain::AttemptKey key{id, std::max(run.attempt, d->state().attempt_floor) + 1};
  const domain::Checkpoint from = ResumePoint(run);
  d->Emit(domain::RunPlaced{key, placement.gang, from});
  d->Send(domain::BeginAttempt{key, from.step});
  d->Send(LaunchOf(*d->state().FindRun(id)));
}

// The same sentence with other numbers is no change worth storing; DescribeWait gives the numbers of the moment.
bool SameButNumbers(const std::string& a, const std::string& b) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  std::string without_a = a;
  std::string without_b = b;
  std::erase_if(without_a, is_digit);
  std::erase_if(without_b, is_digit);
  return without_a == without_b;
}

void StoreWait(Decider* d, const RunId& id) {
  const Run* run = d->state().FindRun(id);
  if (run == nullptr || !InQueue(*run)) return;
  const Wait now = DescribeWait(d->state(), id);
  if (run->wait.has_value() && run->wait->never == now.never && SameButNumbers(run->wait->reason, now.reason)) return;
  d->Emit(domain::WaitReasonChanged{id, now.never, now.reason});
}

// Runs that this decision put into the queue.
std::vector<RunId> NewlyQueued(const Decider& d) {
  std::vector<RunId> runs;
  for (const domain::Fact& fact : d.facts()) {
    if (const auto* admitted = std::get_if<domain::SweepAdmitted>(&fact.body)) {
      for (const domain::RunSpec& run : admitted->spec.runs) runs.push_back(domain::MakeRunId(admitted->sweep, run.cell, 1));
    } else if (const auto* retried = std::get_if<domain::RunRetried>(&fact.body)) {
      runs.push_back(retried->run);
    } else if (const auto* rescued = std::get_if<domain::RunRescued>(&fact.body)) {
      runs.push_back(rescued->run);
    } else if (const auto* requeued = std::get_if<domain::RunRequeued>(&fact.body)) {
      runs.push_back(requeued->run);
    } else if (const auto* resumed = std::get_if<domain::RunResumed>(&fact.body)) {
      runs.push_back(resumed->run);
    }
  }
  return runs;
}

bool ChangedFleet(const Decider& d) {
  return std::any_of(d.facts().begin(), d.facts().end(),
                     [](const domain::Fact& fact) {
                       return std::holds_alternative<domain::WorkerRegistered>(fact.body) || std::holds_alternative<domain::WorkerForgotten>(fact.body);
                     });
}

// Whole classes that became possible, or impossible.
std::vector<RunId> ChangedForever(const State& state) {
  std::vector<RunId> runs;
  for (const auto& [queue_class, waiting] : state.index.queue.classes()) {
    const bool never = scheduler::ExplainFit(state.index.fleet, queue_class.shape).never;
    const Run* first = state.FindRun(waiting.First().second->run);
    if (first->wait.has_value() && first->wait->never == never) continue;
    for (const auto& [rank, request] : waiting) runs.push_back(request->run);
  }
  return runs;
}

// What was placed moved its owner's share, and with it perhaps which gang goes first and keeps its machines: planned again until
// nothing more can start. The last plan's waiting runs.
std::vector<scheduler::Request> PlaceAll(Decider* d, std::size_t max_listed) {
  std::size_t left = d->config().max_placements_per_event;
  for (;;) {
    scheduler::Planner planner(&d->state().index, max_listed);
    const std::size_t before = left;
    while (left > 0) {
      const std::optional<scheduler::Placement> next = planner.Next();
      if (!next.has_value()) break;
      Launch(d, *next);
      --left;
    }
    if (left == before || left == 0 || !planner.waits()) return planner.waiting();
  }
}

}  // namespace

domain::LaunchAttempt LaunchOf(const Run& run) {
  return {run.current->gang.members.front().worker, run.current->key, run.current->gang, run.spec, run.current->resume_from,
          !run.fork.path.empty() && run.current->resume_from.path == run.fork.path};
}

bool IsStillMeant(const State& state, const domain::LaunchAttempt& launch, std::uint64_t incarnation) {
  const Worker* worker = state.FindWorker(launch.worker);
  const Attempt* attempt = state.FindAttempt(launch.key);
  return worker != nullptr && worker->incarnation == incarnation && attempt != nullptr && !attempt->end.has_value();
}

void ReleaseHeldBack(Decider* d) {
  std::vector<RunId> due;
  for (const auto& [held, present] : d->state().backing_off) {
    if (held.first > d->at_ms()) break;
    due.push_back(held.second);
  }
  for (const RunId& run : due) {
    d->Emit(domain::WaitReasonChanged{run, false, "its pause after a failure is over"});
    d->AskForPlacement();
  }
}

std::vector<scheduler::Request> Place(Decider* d) {
  const bool fleet_changed = ChangedFleet(*d);
  const std::vector<scheduler::Request> waiting = PlaceAll(d, fleet_changed || d->preemption_asked() ? scheduler::kMaxWaitingListed : 0);
  // Before the first of each class learns it.
  const std::vector<RunId> changed = fleet_changed ? ChangedForever(d->state()) : std::vector<RunId>();
  // Not after every event: looking up who goes first costs more than placing.
  const std::size_t stored = fleet_changed ? waiting.size() : std::min(kStoredInLine, waiting.size());
  for (std::size_t i = 0; i < stored; ++i) StoreWait(d, waiting[i].run);
  for (const RunId& run : NewlyQueued(*d)) StoreWait(d, run);
  for (const RunId& run : changed) StoreWait(d, run);
  return waiting;
}

}  // namespace entrain::core
