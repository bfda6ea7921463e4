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

void LeaveIndexes(State* state, const Run& run) {
  if (const auto deadline = DeadlineOf(*state, run)) state->deadlines.Erase({*deadline, run.id});
  if (InQueue(run)) state->index.queue.Remove(RequestOf(*state, run));
  if (HeldBack(run)) state->backing_off.Erase({run.not_before_ms, run.id});
  if (IsActive(run)) state->index.queue.CountActive(HolderOf(run), -1);
  if (run.pending_end.has_value()) state->awaiting_judgement.Erase(run.id);
}

void EnterIndexes(State* state, const Run& run) {
  if (const auto deadline = DeadlineOf(*state, run)) {
    state->deadlines.Set({*deadline, run.id}, {});
  } else {
    state->progress.Erase(run.id);
  }
  if (IsActive(run)) state->index.queue.CountActive(HolderOf(run), +1);
  if (InQueue(run)) state->index.queue.Push(RequestOf(*state, run));
  if (HeldBack(run)) state->backing_off.Set({run.not_before_ms, run.id}, {});
  if (run.pending_end.has_value()) state->awaiting_judgement.Set(run.id, {});
}

bool SameIndexes(const State& state, const Run& a, const Run& b) {
  return a.aged == b.aged && a.reserved == b.reserved && DeadlineOf(state, a) == DeadlineOf(state, b) && InQueue(a) == InQueue(b) && HeldBack(a) == HeldBack(b) && a.not_before_ms == b.not_before_ms &&
         IsActive(a) == IsActive(b) && a.pending_end.has_value() == b.pending_end.has_value();
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
  machine.machine_class = {.pool = {worker.info.slot_kind, worker.info.device}, .slots = worker.info.slots};
  for (const domain::AttemptKey& holder : worker.slots) machine.busy.push_back(holder.attempt != 0);
  machine.free = static_cast<std::int32_t>(std::count(machine.busy.begin(), machine.busy.end(), false));
  machine.silent = worker.silent;
  machine.draining = worker.draining;
  machine.connected = worker.connected;
  machine.quarantined = worker.quarantined;
  return machine;
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

void AddRun(State* state, std::shared_ptr<const Run> run) {
  ENTRAIN_CHECK_MSG(!state->runs.Contains(run->id), run->id.value());
  EnterIndexes(state, *run);
  state->runs.Set(run->id, run);
}

void EditRun(State* state, const RunId& id, const std::function<void(Run*)>& edit) {
  const std::shared_ptr<const Run>* found = state->runs.Find(id);
  ENTRAIN_CHECK_MSG(found != nullptr, id.value());
  const std::shared_ptr<const Run> before = *found;
  auto after = std::make_shared<Run>(*before);
  edit(after.get());
  const bool moves = !SameIndexes(*state, *before, *after);
  if (moves) LeaveIndexes(state, *before);
  if (moves) EnterIndexes(state, *after);
  state->runs.Set(id, std::move(after));
}

void EditSweep(State* state, const SweepId& id, const std::function<void(Sweep*)>& edit) {
  const Sweep* found = state->FindSweep(id);
  ENTRAIN_CHECK_MSG(found != nullptr, id.value());
  auto after = std::make_shared<Sweep>(*found);
  edit(after.get());
  state->sweeps.Set(id, std::move(after));
}

void PutWorker(State* state, Worker worker) {
  const WorkerId id = worker.info.id;
  const Worker* before = state->FindWorker(id);
  if (before == nullptr || before->last_heard_ms != worker.last_heard_ms || before->silent != worker.silent) {
    if (before != nullptr) state->leases.Erase({before->last_heard_ms, id});
    if (!worker.silent) state->leases.Set({worker.last_heard_ms, id}, {});
  }
  if (before != nullptr && before->quarantined) state->quarantines.Erase({before->quarantined_until_ms, id});
  if (worker.quarantined && worker.quarantined_until_ms > 0) state->quarantines.Set({worker.quarantined_until_ms, id}, {});
  scheduler::Machine machine = MachineOf(worker);
  const scheduler::Machine* known = state->index.fleet.Find(id);
  if (known == nullptr || !(*known == machine)) state->index.fleet.Put(id, machine);
  state->workers.Set(id, std::make_shared<const Worker>(std::move(worker)));
}

void RemoveWorker(State* state, const WorkerId& id) {
  const Worker* found = state->FindWorker(id);
  ENTRAIN_CHECK_MSG(found != nullptr && found->SlotsUsed() == 0, id.value());
  state->leases.Erase({found->last_heard_ms, id});
  state->quarantines.Erase({found->quarantined_until_ms, id});
  state->index.fleet.Remove(id);
  state->workers.Erase(id);
}

void EditWorker(State* state, const WorkerId& id, const std::function<void(Worker*)>& edit) {
  const Worker* found = state->FindWorker(id);
  ENTRAIN_CHECK_MSG(found != nullptr, id.value());
  Worker worker = *found;
  edit(&worker);
  PutWorker(state, std::move(worker));
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
  EditRun(state, run->id, [&](Run* r) { r->current = shared; });
}

void HoldSlots(State* state, const Attempt& attempt) {
  for (const domain::GangMember& member : attempt.gang.members) {
    EditWorker(state, member.worker, [&](Worker* worker) {
      for (const std::int32_t slot : member.slots) {
        domain::AttemptKey& holder = worker->slots.at(static_cast<std::size_t>(slot));
        ENTRAIN_CHECK_MSG(holder.attempt == 0, StrCat("slot ", slot, " of ", worker->info.id.value(), " is held by ", holder.ToString()));
        holder = attempt.key;
      }
    });
  }
}

void ReleaseSlots(State* state, const domain::AttemptKey& key, const WorkerId& worker) {
  const Attempt* found = state->FindAttempt(key);
  if (found == nullptr) return;
  Attempt attempt = *found;
  if (std::erase(attempt.holds, worker) == 0) return;
  EditWorker(state, worker, [&](Worker* w) {
    for (domain::AttemptKey& holder : w->slots) {
      if (holder == key) holder = {};
    }
  });
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
