// What keeps the queue fair over time: runs that waited too long, and room for those of a higher priority.
#include <algorithm>
#include <set>

#include "base/strings.h"
#include "coordinator/core/decider.h"
#include "coordinator/scheduler/placement.h"
#include "coordinator/scheduler/preemption.h"

namespace entrain::core {
namespace {

using domain::RunState;

// How many of those next in line are looked at in one decision.
constexpr std::size_t kTried = 4;

bool IsEnding(const Run& run, const domain::AttemptKey& key) {
  return run.current == nullptr || run.current->key != key || run.state == RunState::kStopping;
}

bool MayBePreempted(const Decider& d, const Run& run, std::int64_t priority) {
  return run.state == RunState::kRunning && run.priority < priority && run.current->started &&
         d.at_ms() - run.current->started_ms >= d.config().min_run_before_preempt_ms;
}

void AddHolders(const Decider& d, const Worker& worker, std::int64_t priority, scheduler::Occupied* occupied) {
  for (const domain::AttemptKey& key : worker.slots) {
    const Run* run = key.attempt == 0 ? nullptr : d.state().FindRun(key.run);
    if (run == nullptr) continue;
    if (IsEnding(*run, key)) {
      ++occupied->ending;
      continue;
    }
    if (!MayBePreempted(d, *run, priority)) continue;
    const auto same = std::find_if(occupied->victims.begin(), occupied->victims.end(), [&](const auto& v) { return v.run == key.run; });
    if (same != occupied->victims.end()) {
      ++same->slots_here;
    } else {
      occupied->victims.push_back({key.run, run->priority, 1, d.at_ms() - run->current->started_ms});
    }
  }
}

std::vector<scheduler::Occupied> MachinesFor(const Decider& d, const scheduler::Request& request) {
  std::vector<scheduler::Occupied> machines;
  for (const auto& [id, machine] : d.state().index.fleet.machines()) {
    if (!machine->Usable() || machine->machine_class.slots < request.shape.ranks) continue;
    scheduler::Occupied occupied{id, machine->machine_class.pool, machine->free, 0, {}, machine->machine_class.has_peers};
    AddHolders(d, *d.state().FindWorker(id), request.priority, &occupied);
    machines.push_back(std::move(occupied));
  }
  return machines;
}

enum class Room { kNone, kComing, kReserved };

Room MakeRoom(Decider* d, const scheduler::Request& request) {
  const auto preemption = scheduler::ChoosePreemption(MachinesFor(*d, request), request.shape);
  if (!preemption.has_value()) return Room::kNone;
  if (preemption->victims.empty()) return Room::kComing;
  const std::size_t count = preemption->victims.size();
  d->Emit(domain::RunReserved{request.run, preemption->machines,
                              StrCat(count, count == 1 ? " run" : " runs", " of a priority below ", request.priority, " are stopped for it")});
  const std::string label = d->state().FindRun(request.run)->spec->label;
  for (const RunId& id : preemption->victims) {
    const Run victim = *d->state().FindRun(id);
    StopGang(d, victim, domain::StopKind::kPreempt,
             StrCat("preempted at a checkpoint: ", label, " (", request.run.value(), ") has priority ", request.priority, ", this run ",
                    victim.priority));
  }
  return Room::kReserved;
}

}  // namespace

void AgeHeads(Decider* d) {
  std::vector<std::pair<RunId, std::int64_t>> aged;
  for (const auto& [owner, heads] : d->state().index.queue.heads()) {
    for (const auto& [rank, head] : heads) {
      const std::int64_t waited_ms = d->at_ms() - head.since_ms;
      if (!rank.not_aged || waited_ms < d->config().age_limit_ms) continue;
      if (!scheduler::CouldEverFit(d->state().index.fleet, head.queue_class.shape)) continue;
      aged.emplace_back(d->state().index.queue.First(head.queue_class)->run, waited_ms);
    }
  }
  for (const auto& [run, waited_ms] : aged) {
    d->Emit(domain::RunAged{run, StrCat("at the head of its queue for ", waited_ms / 1000, " s: it now goes before all others of its priority")});
  }
}

bool Preempt(Decider* d, const std::vector<scheduler::Request>& waiting) {
  for (std::size_t i = 0; i < std::min(kTried, waiting.size()); ++i) {
    const scheduler::Request& request = waiting[i];
    if (!d->state().index.queue.HoldsBelow(request.priority)) continue;
    if (!scheduler::CouldEverFit(d->state().index.fleet, request.shape)) continue;
    if (const Room room = MakeRoom(d, request); room != Room::kNone) return room == Room::kReserved;
  }
  return false;
}

}  // namespace entrain::core
