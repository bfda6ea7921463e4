#include "coordinator/core/edit.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/hash.h"
#include "base/strings.h"

namespace entrain::core {
namespace {

// Where the run's newest checkpoint was written: a resume elsewhere need not be bit-identical.
std::string CheckpointDevice(const State& state, const Run& run) {
  if (run.checkpoints.empty()) return "";
  const AttemptNumber number = run.checkpoints.back().attempt;
  const Attempt* writer = run.current != nullptr && run.current->key.attempt == number ? run.current.get() : nullptr;
  for (const auto& past : run.past) {
    if (past->key.attempt == number) writer = past.get();
  }
  if (writer == nullptr) return "";
  const Worker* worker = state.FindWorker(writer->gang.members.front().worker);
  return worker == nullptr ? "" : worker->info.device;
}

scheduler::Holder HolderOf(const Run& run) {
  return {.sweep = run.sweep, .owner = run.owner, .priority = run.priority, .slots = run.spec->resources.WorldSize()};
}

// What the indexes know of a run, taken down before it changes.
struct RunPlaces {
  std::optional<std::int64_t> deadline;
  bool in_queue = false;
  bool held_back = false;
  bool active = false;
  bool awaits_judgement = false;
  bool aged = false;
  std::int64_t not_before_ms = 0;
  std::vector<WorkerId> reserved;
  friend bool operator==(const RunPlaces&, const RunPlaces&) = default;
};
RunPlaces PlacesOf(const State& state, const Run& run) {
  return {DeadlineOf(state, run), InQueue(run), HeldBack(run), IsActive(run), run.pending_end.has_value(), run.aged, run.not_before_ms, run.reserved};
}

void LeaveIndexes(State* state, const Run& run, const RunPlaces& places) {
  if (places.deadline) state->deadlines.Erase({*places.deadline, run.id});
  if (places.in_queue) {
    // Only what says where it stands.
    scheduler::Request request;
    request.sweep = run.sweep;
    request.owner = run.owner;
    request.priority = run.priority;
    request.aged = places.aged;
    request.number = run.number;
    request.shape = scheduler::ShapeOf(run.spec->resources);
    state->index.queue.Remove(request);
  }
  if (places.held_back) state->backing_off.Erase({places.not_before_ms, run.id});
  if (places.active) state->index.queue.CountActive(HolderOf(run), -1);
  if (places.awaits_judgement) state->awaiting_judgement.Erase(run.id);
}

void EnterIndexes(State* state, const Run& run, const RunPlaces& places) {
  if (places.deadline) {
    state->deadlines.Set({*places.deadline, run.id}, {});
  } else {
    state->progress.Erase(run.id);
  }
  if (places.active) state->index.queue.CountActive(HolderOf(run), +1);
  if (places.in_queue) state->index.queue.Push(RequestOf(*state, run));
  if (places.held_back) state->backing_off.Set({places.not_before_ms, run.id}, {});
  if (places.awaits_judgement) state->awaiting_judgement.Set(run.id, {});
}

// Of a worker.
struct WorkerPlaces {
  std::int64_t last_heard_ms = 0;
  bool silent = false;
  bool quarantined = false;
  std::int64_t quarantined_until_ms = 0;
};
WorkerPlaces PlacesOf(const Worker& worker) {
  return {worker.last_heard_ms, worker.silent, worker.quarantined, worker.quarantined_until_ms};
}

// `before`: nullptr for a new one.
void FollowWorker(State* state, const WorkerPlaces* before, const Worker& worker) {
  const WorkerId& id = worker.info.id;
  if (before == nullptr || before->last_heard_ms != worker.last_heard_ms || before->silent != worker.silent) {
    if (before != nullptr) state->leases.Erase({before->last_heard_ms, id});
    if (!worker.silent) state->leases.Set({worker.last_heard_ms, id}, {});
  }
  if (before != nullptr && before->quarantined) state->quarantines.Erase({before->quarantined_until_ms, id});
  if (worker.quarantined && worker.quarantined_until_ms > 0) state->quarantines.Set({worker.quarantined_until_ms, id}, {});
  const scheduler::Machine* known = state->index.fleet.Find(id);
  if (known == nullptr || !IsMachineOf(*known, worker)) state->index.fleet.Put(id, MachineOf(worker));
}

}  // namespace

bool InQueue(const Run& run) { return run.state == domain::RunState::kQueued && run.not_before_ms == 0; }
bool HeldBack(const Run& run) { return run.state == domain::RunState::kQueued && run.not_before_ms != 0; }
bool IsActive(const Run& run) { return run.current != nullptr && run.state != domain::RunState::kQueued; }

scheduler::Request RequestOf(const State& state, const Run& run) {
  return {.run = run.id,
          .sweep = run.sweep,
          .owner = run.owner,
          .priority = run.priority,
          .aged = run.aged,
          .number = run.number,
          .shape = scheduler::ShapeOf(run.spec->resources),
          .preferred_device = CheckpointDevice(state, run),
          .reserved = run.reserved};
}

scheduler::Machine MachineOf(const Worker& worker) {
  scheduler::Machine machine;
  machine.machine_class = {.pool = {worker.info.slot_kind, worker.info.device}, .slots = worker.info.slots, .has_peers = !worker.info.peer_address.empty()};
  for (const domain::AttemptKey& holder : worker.slots) machine.busy.push_back(holder.attempt != 0);
  machine.free = static_cast<std::int32_t>(std::count(machine.busy.begin(), machine.busy.end(), false));
  machine.silent = worker.silent;
  machine.draining = worker.draining;
  machine.connected = worker.connected;
  machine.quarantined = worker.quarantined;
  return machine;
}

bool IsMachineOf(const scheduler::Machine& machine, const Worker& worker) {
  const scheduler::MachineClass& known = machine.machine_class;
  return known.slots == worker.info.slots && known.pool.kind == worker.info.slot_kind && known.pool.device == worker.info.device &&
         known.has_peers == !worker.info.peer_address.empty() && machine.silent == worker.silent && machine.draining == worker.draining &&
         machine.connected == worker.connected && machine.quarantined == worker.quarantined &&
         std::equal(machine.busy.begin(), machine.busy.end(), worker.slots.begin(), worker.slots.end(),
                    [](bool busy, const domain::AttemptKey& holder) { return busy == (holder.attempt != 0); });
}

std::optional<std::int64_t> DeadlineOf(const State& state, const Run& run) {
  const domain::RunLimits& limits = run.spec->limits;
  if (run.state != domain::RunState::kRunning || run.current == nullptr || !run.current->started) return std::nullopt;
  std::optional<std::int64_t> deadline;
  if (limits.max_duration_s > 0) deadline = run.current->started_ms + limits.max_duration_s * 1000 - run.ran_ms;
  if (limits.stall_limit_s > 0) {
    const std::int64_t* progress = state.progress.Find(run.id);
    const std::int64_t since_ms = std::max(run.current->started_ms, progress == nullptr ? 0 : *progress);
    const std::int64_t stalls_ms = since_ms + limits.stall_limit_s * 1000;
    deadline = std::min(deadline.value_or(stalls_ms), stalls_ms);
  }
  return deadline;
}

void HearProgress(State* state, const RunId& id, std::int64_t at_ms) {
  const Run& run = *state->FindRun(id);
  const auto before = DeadlineOf(*state, run);
  if (!before) return;
  state->deadlines.Erase({*before, id});
  state->progress.Set(id, at_ms);
  state->deadlines.Set({*DeadlineOf(*state, run), id}, {});
}

void AddRun(State* state, Run run) {
  ENTRAIN_CHECK_MSG(!state->runs.Contains(run.id), run.id.value());
  EnterIndexes(state, run, PlacesOf(*state, run));
  const RunId id = run.id;
  state->runs.Set(id, scheduler::CopyOnWrite<Run>(std::move(run)));
}

void EditRun(State* state, const RunId& id, absl::FunctionRef<void(Run*)> edit) {
  scheduler::CopyOnWrite<Run>* found = state->runs.Edit(id);
  ENTRAIN_CHECK_MSG(found != nullptr, id.value());
  Run* const run = found->Own();
  const RunPlaces before = PlacesOf(*state, *run);
  edit(run);
  const RunPlaces after = PlacesOf(*state, *run);
  if (before == after) return;
  LeaveIndexes(state, *run, before);
  EnterIndexes(state, *run, after);
}

void EditSweep(State* state, const SweepId& id, absl::FunctionRef<void(Sweep*)> edit) {
  scheduler::CopyOnWrite<Sweep>* found = state->sweeps.Edit(id);
  ENTRAIN_CHECK_MSG(found != nullptr, id.value());
  edit(found->Own());
}

void PutWorker(State* state, Worker worker) {
  const WorkerId id = worker.info.id;
  scheduler::CopyOnWrite<Worker>* known = state->workers.Edit(id);
  if (known == nullptr) {
    FollowWorker(state, nullptr, worker);
    state->workers.Set(id, scheduler::CopyOnWrite<Worker>(std::move(worker)));
    return;
  }
  const WorkerPlaces before = PlacesOf(**known);
  *known = scheduler::CopyOnWrite<Worker>(std::move(worker));
  FollowWorker(state, &before, **known);
}

void RemoveWorker(State* state, const WorkerId& id) {
  const Worker* found = state->FindWorker(id);
  ENTRAIN_CHECK_MSG(found != nullptr && found->SlotsUsed() == 0, id.value());
  state->leases.Erase({found->last_heard_ms, id});
  state->quarantines.Erase({found->quarantined_until_ms, id});
  state->index.fleet.Remove(id);
  state->workers.Erase(id);
}

void EditWorker(State* state, const WorkerId& id, absl::FunctionRef<void(Worker*)> edit) {
  scheduler::CopyOnWrite<Worker>* found = state->workers.Edit(id);
  ENTRAIN_CHECK_MSG(found != nullptr, id.value());
  Worker* const worker = found->Own();
  const WorkerPlaces before = PlacesOf(*worker);
  edit(worker);
  FollowWorker(state, &before, *worker);
}

void PutAttempt(State* state, Attempt attempt) {
  const auto shared = std::make_shared<const Attempt>(std::move(attempt));
  if (shared->holds.empty()) {
    state->attempts.Erase(shared->key);
  } else {
    state->attempts.Set(shared->key, shared);
  }
  const Run* run = state->FindRun(shared->key.run);
  if (run == nullptr || run->current == nullptr || run->current->key != shared->key) return;
  EditRun(state, shared->key.run, [&](Run* r) { r->current = shared; });
}

void HoldSlots(State* state, const Attempt& attempt) {
  for (const domain::GangMember& member : attempt.gang.members) {
    scheduler::CopyOnWrite<Worker>* found = state->workers.Edit(member.worker);
    ENTRAIN_CHECK_MSG(found != nullptr, member.worker.value());
    Worker* const worker = found->Own();
    for (const std::int32_t slot : member.slots) {
      domain::AttemptKey& holder = worker->slots.at(static_cast<std::size_t>(slot));
      ENTRAIN_CHECK_MSG(holder.attempt == 0, StrCat("slot ", slot, " of ", worker->info.id.value(), " is held by ", holder.ToString()));
      holder = attempt.key;
    }
    state->index.fleet.SetBusy(member.worker, member.slots, true);
  }
}

void FreeSlots(State* state, const domain::AttemptKey& key, const WorkerId& worker) {
  scheduler::CopyOnWrite<Worker>* found = state->workers.Edit(worker);
  ENTRAIN_CHECK_MSG(found != nullptr, worker.value());
  std::vector<domain::AttemptKey>& slots = found->Own()->slots;
  std::vector<std::int32_t> freed;
  for (std::size_t slot = 0; slot < slots.size(); ++slot) {
    if (slots[slot] != key) continue;
    slots[slot] = {};
    freed.push_back(static_cast<std::int32_t>(slot));
  }
  state->index.fleet.SetBusy(worker, freed, false);
}

void ReleaseSlots(State* state, const domain::AttemptKey& key, const WorkerId& worker) {
  const Attempt* found = state->FindAttempt(key);
  if (found == nullptr) return;
  Attempt attempt = *found;
  if (std::erase(attempt.holds, worker) == 0) return;
  FreeSlots(state, attempt.key, worker);
  PutAttempt(state, std::move(attempt));
}

void AddHistory(Run* run, const CoreConfig& config, const Stamp& stamp, std::string what, std::string reason) {
  run->history.push_back(std::make_shared<const HistoryEntry>(HistoryEntry{stamp.wall_ms, std::move(what), std::move(reason)}));
  if (run->history.size() > config.max_history) run->history.erase(run->history.begin());
}

std::string SweepKey(const std::string& owner, const std::string& idempotency_key) {
  return StrCat(owner.size(), ":", owner, "/", idempotency_key);
}

std::string ContentHash(const domain::SweepSpec& spec) {
  Hasher hasher;
  // Lengths before texts, so that no two specs read the same.
  const auto add = [&hasher](const std::string& text) {
    hasher.Update(StrCat(text.size(), ":"));
    hasher.Update(text);
  };
  add(spec.name);
  add(spec.owner);
  add(spec.yaml);
  add(StrCat(spec.priority, "/", spec.max_concurrent_runs, "/", spec.runs.size()));
  const domain::EarlyStopping& halving = spec.early_stopping;
  add(StrCat(ToString(halving.method), "/", ToString(halving.metric), "/", halving.min_steps, "/", halving.reduction_factor, "/",
             halving.window_steps));
  for (const domain::RunSpec& run : spec.runs) {
    add(run.cell.value());
    add(run.label);
    add(run.config_json);
    add(run.dataset.ToString());
    add(StrCat(run.retries.out_of_memory, "/", run.limits.max_duration_s, "/", run.limits.stall_limit_s));
    add(StrCat(run.resources.machines, "/", run.resources.ranks_per_machine, "/", run.retries.max_failures, "/", run.steps));
    // Health rules follow from the text and the build's defaults; new defaults do not make the same file another sweep.
  }
  return hasher.Hex();
}

}  // namespace entrain::core
