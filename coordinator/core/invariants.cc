// What must hold after every fact batch. Checked by every scenario and by the simulator after every event, and by the server when
// it starts.
#include <algorithm>
#include <map>
#include <set>

#include "base/strings.h"
#include "coordinator/core/core.h"
#include "coordinator/core/edit.h"

namespace entrain::core {
namespace {

using domain::AttemptKey;
using domain::RunState;

class Checker {
 public:
  explicit Checker(const State& state) : state_(state) {}

  std::vector<std::string> Check() {
    for (const auto& [id, run] : state_.runs) {
      CheckRunShape(*run);
      CheckCurrent(*run);
      CheckIndexes(*run);
    }
    for (const auto& [key, attempt] : state_.attempts) CheckAttempt(*attempt);
    for (const auto& [id, worker] : state_.workers) CheckWorker(*worker);
    for (const auto& [id, sweep] : state_.sweeps) CheckSweep(*sweep);
    CheckTotals();
    return std::move(broken_);
  }

 private:
  template <typename... Args>
  void Demand(bool holds, const Args&... text) {
    if (!holds) broken_.push_back(StrCat(text...));
  }

  void CheckRunShape(const Run& run) {
    const std::string name = StrCat("run ", run.id.value(), " (", ToString(run.state), ")");
    const bool holds_gang = run.state == RunState::kStarting || run.state == RunState::kRunning || run.state == RunState::kStopping;
    if (holds_gang) {
      Demand((run.current != nullptr) != run.pending_end.has_value(), name, " must have a current attempt or await judgement, not both");
    } else {
      Demand(!run.pending_end.has_value(), name, " must not await judgement");
      Demand(run.current == nullptr || run.state == RunState::kQueued, name, " must not have a current attempt");
    }
    Demand((run.state == RunState::kStopping) == run.stop.has_value(), name, " must be stopping exactly while a stop is decided");
    Demand(run.state == RunState::kQueued || (!run.wait.has_value() && run.not_before_ms == 0), name, " must not have a wait reason");
    Demand((run.state == RunState::kHalted) == (run.halt_reason != domain::HaltReason::kNone), name, " must have a halt reason exactly when halted");
    Demand(domain::IsFinal(run.state) == (run.finished_wall_ms != 0), name, " must have an end exactly when final");
    Demand(run.state == RunState::kQueued || (!run.aged && run.reserved.empty()), name, " must not be aged or have machines reserved");
    Demand(!run.held || (!domain::IsFinal(run.state) && !run.rungs.empty() && run.rungs.back().outcome == domain::RungOutcome::kHeld), name,
           " is held, but not at its last rung");
    Demand(!run.held || run.pending_end.has_value() || run.state == RunState::kPaused || run.state == RunState::kStopping, name,
           " is held at a rung and trains on");
    Demand(!run.paused_at_rung || (run.state == RunState::kPaused && run.held), name, " is paused at a rung, but not held");
    Demand((run.state == RunState::kPruned) == (!run.rungs.empty() && run.rungs.back().outcome == domain::RungOutcome::kPruned), name,
           " must be pruned exactly when its last rung says so");
    Demand(run.next.empty() || domain::IsFinal(run.state), name, " has a next generation but did not end");
    Demand(run.failures <= run.spec->retries.max_failures, name, " was queued again after ", run.failures, " failures");
  }

  void CheckCurrent(const Run& run) {
    if (run.current == nullptr) return;
    const AttemptKey& key = run.current->key;
    Demand(key.run == run.id && key.attempt == run.attempt, "run ", run.id.value(), "'s current attempt is ", key.ToString(), ", its newest is ", run.attempt);
    Demand(!run.current->end.has_value(), "current attempt ", key.ToString(), " has ended");
    const Attempt* kept = state_.FindAttempt(key);
    Demand(kept != nullptr && *kept == *run.current, "current attempt ", key.ToString(), " holds no slots or differs");
  }

  void CheckIndexes(const Run& run) {
    const scheduler::Request request = RequestOf(state_, run);
    const auto* waiting = state_.index.queue.Waiting(state_.index.queue.ClassOf(request));
    const auto* found = waiting == nullptr ? nullptr : waiting->Find(scheduler::RankOf(request));
    const scheduler::Request* queued = found == nullptr ? nullptr : &**found;
    Demand((queued != nullptr && queued->run == run.id) == InQueue(run), "run ", run.id.value(), " and the queue disagree");
    Demand(state_.backing_off.Contains({run.not_before_ms, run.id}) == HeldBack(run), "run ", run.id.value(), " and the back-off list disagree");
    Demand(state_.awaiting_judgement.Contains(run.id) == run.pending_end.has_value(), "run ", run.id.value(), " and the judgement list disagree");
    const auto deadline = DeadlineOf(state_, run);
    Demand(!deadline.has_value() || state_.deadlines.Contains({*deadline, run.id}), "run ", run.id.value(), " and the deadlines disagree");
    deadlines_ += deadline.has_value() ? 1 : 0;
    if (IsActive(run)) slots_by_owner_[run.owner] += run.spec->resources.WorldSize();
    Demand(queued == nullptr || *queued == request || queued->preferred_device != request.preferred_device, "run ", run.id.value(),
           " waits with an old request");
    queued_ += InQueue(run) ? 1 : 0;
    held_back_ += HeldBack(run) ? 1 : 0;
    awaiting_ += run.pending_end.has_value() ? 1 : 0;
    if (IsActive(run)) ++active_[run.sweep];
  }

  // A gang is whole: every slot that it holds is marked with its key, on every machine that it still holds.
  void CheckAttempt(const Attempt& attempt) {
    const std::string name = StrCat("attempt ", attempt.key.ToString());
    Demand(!attempt.holds.empty(), name, " is kept but holds nothing");
    const Run* run = state_.FindRun(attempt.key.run);
    Demand(run != nullptr, name, " has no run");
    if (run == nullptr) return;
    const bool current = run->current != nullptr && run->current->key == attempt.key;
    Demand(attempt.end.has_value() != current, name, " must be current or closed");
    Demand(!current || attempt.holds.size() == attempt.gang.members.size(), name, " is current but holds a part of its gang");
    std::int64_t slots = 0;
    for (const domain::GangMember& member : attempt.gang.members) {
      slots += static_cast<std::int64_t>(member.slots.size());
      if (std::count(attempt.holds.begin(), attempt.holds.end(), member.worker) == 0) continue;
      const Worker* worker = state_.FindWorker(member.worker);
      Demand(worker != nullptr, name, " holds slots of unknown worker ", member.worker.value());
      if (worker == nullptr) continue;
      for (const std::int32_t slot : member.slots) {
        const auto at = static_cast<std::size_t>(slot);
        if (at >= worker->slots.size()) continue;  // the machine came back smaller
        Demand(worker->slots[at] == attempt.key, "slot ", slot, " of ", member.worker.value(), " is not marked for ", name);
        marked_.insert({member.worker, slot});
      }
    }
    Demand(slots == run->spec->resources.WorldSize(), name, " has ", slots, " slots, its run needs ", run->spec->resources.WorldSize());
  }

  void CheckWorker(const Worker& worker) {
    const std::string name = StrCat("worker ", worker.info.id.value());
    Demand(static_cast<std::int32_t>(worker.slots.size()) == worker.info.slots, name, " has another number of slots than it said");
    for (std::size_t slot = 0; slot < worker.slots.size(); ++slot) {
      if (worker.slots[slot].attempt == 0) continue;
      Demand(marked_.contains({worker.info.id, static_cast<std::int32_t>(slot)}), "slot ", slot, " of ", worker.info.id.value(), " is marked for ",
             worker.slots[slot].ToString(), ", which does not hold it");
    }
    const scheduler::Machine* machine = state_.index.fleet.Find(worker.info.id);
    Demand(machine != nullptr && *machine == MachineOf(worker), name, " and the fleet index disagree");
    Demand(state_.leases.Contains({worker.last_heard_ms, worker.info.id}) != worker.silent, name, " and the leases disagree");
    Demand(!(worker.silent && worker.connected), name, " is silent and connected");
    Demand(state_.quarantines.Contains({worker.quarantined_until_ms, worker.info.id}) == (worker.quarantined && worker.quarantined_until_ms > 0),
           name, " and the quarantines disagree");
    if (!worker.silent && !worker.draining && worker.connected && !worker.quarantined) free_slots_ += worker.info.slots - worker.SlotsUsed();
    lease_count_ += worker.silent ? 0 : 1;
  }

  void CheckSweep(const Sweep& sweep) {
    std::int64_t unfinished = 0;
    for (const RunId& id : *sweep.runs) {
      const Run* run = state_.FindRun(id);
      Demand(run != nullptr && run->next.empty(), "run ", id.value(), " of sweep ", sweep.id.value(), " is not its cell's newest");
      if (run != nullptr && !domain::IsFinal(run->state)) ++unfinished;
    }
    Demand(unfinished == sweep.unfinished_runs, "sweep ", sweep.id.value(), " counts ", sweep.unfinished_runs, " unfinished runs, there are ", unfinished);
    const SweepId* by_key = state_.sweeps_by_key.Find(SweepKey(sweep.spec->owner, sweep.idempotency_key));
    Demand(by_key != nullptr && *by_key == sweep.id, "sweep ", sweep.id.value(), " is not found by its key");
    if (sweep.spec->max_concurrent_runs > 0) {
      Demand(state_.index.queue.Active(sweep.id) == active_[sweep.id], "sweep ", sweep.id.value(), " counts ",
             state_.index.queue.Active(sweep.id), " active runs, there are ", active_[sweep.id]);
    }
  }

  void CheckTotals() {
    Demand(state_.index.queue.size() == queued_, "the queue holds ", state_.index.queue.size(), " runs, ", queued_, " are queued");
    Demand(state_.backing_off.size() == held_back_, "the back-off list holds ", state_.backing_off.size(), " runs, not ", held_back_);
    Demand(state_.awaiting_judgement.size() == awaiting_, "the judgement list holds ", state_.awaiting_judgement.size(), " runs, not ", awaiting_);
    Demand(state_.index.fleet.free_slots() == free_slots_, "the fleet counts ", state_.index.fleet.free_slots(), " free slots, there are ", free_slots_);
    Demand(state_.index.fleet.machines().size() == state_.workers.size(), "the fleet knows ", state_.index.fleet.machines().size(), " machines, there are ", state_.workers.size());
    Demand(state_.leases.size() == lease_count_, "there are ", state_.leases.size(), " leases for ", lease_count_, " workers");
    Demand(state_.deadlines.size() == deadlines_, "there are ", state_.deadlines.size(), " deadlines for ", deadlines_, " runs");
    for (const auto& [owner, slots] : slots_by_owner_) {
      Demand(state_.index.queue.SlotsOf(owner) == slots, "owner ", owner, " counts ", state_.index.queue.SlotsOf(owner), " slots, holds ", slots);
    }
    for (const auto& [owner, heads] : state_.index.queue.heads()) {
      for (const auto& [rank, head] : heads) {
        const scheduler::Request* first = state_.index.queue.First(head.queue_class);
        Demand(first != nullptr && scheduler::RankOf(*first) == rank, "a queue head is not the first of its class");
      }
    }
  }

  const State& state_;
  std::vector<std::string> broken_;
  std::set<std::pair<WorkerId, std::int32_t>> marked_;
  std::map<SweepId, std::int64_t> active_;
  std::map<std::string, std::int64_t> slots_by_owner_;
  std::size_t deadlines_ = 0;
  std::size_t queued_ = 0;
  std::size_t held_back_ = 0;
  std::size_t awaiting_ = 0;
  std::size_t lease_count_ = 0;
  std::int64_t free_slots_ = 0;
};

}  // namespace

std::vector<std::string> BrokenInvariants(const State& state) { return Checker(state).Check(); }

}  // namespace entrain::core
