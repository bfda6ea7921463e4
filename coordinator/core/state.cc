#include "coordinator/core/state.h"

#include <algorithm>
#include <tuple>

namespace entrain::core {
namespace {

template <typename T>
bool SameValue(const std::shared_ptr<const T>& a, const std::shared_ptr<const T>& b) {
  return a == b || (a != nullptr && b != nullptr && *a == *b);
}

template <typename T>
bool SameValues(const std::vector<std::shared_ptr<const T>>& a, const std::vector<std::shared_ptr<const T>>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), SameValue<T>);
}

template <typename T>
bool SameValue(const scheduler::CopyOnWrite<T>& a, const scheduler::CopyOnWrite<T>& b) {
  return a.Shares(b) || *a == *b;
}

template <typename Map>
bool SameMap(const Map& a, const Map& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](const auto& x, const auto& y) {
           return x.first == y.first && SameValue(x.second, y.second);
         });
}

template <typename Key, typename Value>
const Value* FindIn(const Shared<Key, Value>& map, const Key& key) {
  const scheduler::CopyOnWrite<Value>* found = map.Find(key);
  return found == nullptr ? nullptr : &**found;
}

// A verdict's values may be NaN, which differs from itself.
bool SameVerdict(const std::optional<domain::Verdict>& a, const std::optional<domain::Verdict>& b) {
  if (a.has_value() != b.has_value()) return false;
  if (!a.has_value()) return true;
  return std::tie(a->attempt, a->step, a->reason, a->rule, a->heads, a->steps, a->explanation) ==
         std::tie(b->attempt, b->step, b->reason, b->rule, b->heads, b->steps, b->explanation);
}

bool SameNotices(const std::vector<domain::Verdict>& a, const std::vector<domain::Verdict>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) { return SameVerdict(x, y); });
}

// A loss may be NaN.
bool SameEnd(const std::optional<domain::AttemptEnd>& a, const std::optional<domain::AttemptEnd>& b) {
  if (a.has_value() != b.has_value()) return false;
  return !a.has_value() || std::tie(a->cause, a->last_step, a->message, a->exit_code, a->tokens) ==
                               std::tie(b->cause, b->last_step, b->message, b->exit_code, b->tokens);
}

// Values may be NaN.
bool SameRungs(const std::vector<domain::Rung>& a, const std::vector<domain::Rung>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const domain::Rung& x, const domain::Rung& y) {
    return std::tie(x.step, x.outcome, x.reason) == std::tie(y.step, y.outcome, y.reason);
  });
}

auto PlainParts(const Run& run) {
  return std::tie(run.id, run.sweep, run.number, run.index, run.generation, run.previous, run.next, run.rescue_of, run.rescued_by, run.fork, run.priority, run.owner, run.state, run.aged, run.reserved, run.ran_ms, run.held, run.paused_at_rung,
                  run.reason, run.halt_reason, run.failure, run.failures, run.lost_in_a_row, run.attempt, run.checkpoints, run.retired, run.stop,
                  run.wait, run.not_before_ms, run.result_step, run.fully_judged, run.created_wall_ms,
                  run.started_wall_ms, run.finished_wall_ms);
}

}  // namespace

bool operator==(const Attempt& a, const Attempt& b) {
  const auto parts = [](const Attempt& x) {
    return std::tie(x.key, x.gang, x.resume_from, x.started, x.started_ms, x.placed_wall_ms, x.started_wall_ms, x.closed_wall_ms, x.holds);
  };
  return parts(a) == parts(b) && SameEnd(a.end, b.end);
}

bool operator==(const Run& a, const Run& b) {
  return PlainParts(a) == PlainParts(b) && SameVerdict(a.verdict, b.verdict) && SameNotices(a.notices, b.notices) && SameEnd(a.pending_end, b.pending_end) &&
         SameRungs(a.rungs, b.rungs) && SameValue(a.spec, b.spec) &&
         SameValue(a.current, b.current) && SameValues(a.past, b.past) && SameValues(a.history, b.history);
}

bool operator==(const Sweep& a, const Sweep& b) {
  return a.id == b.id && a.number == b.number && a.idempotency_key == b.idempotency_key && SameValue(a.spec, b.spec) &&
         a.content_hash == b.content_hash && SameValue(a.runs, b.runs) && a.unfinished_runs == b.unfinished_runs &&
         a.created_wall_ms == b.created_wall_ms && a.released_wall_ms == b.released_wall_ms && a.released_by == b.released_by;
}

bool operator==(const Worker& a, const Worker& b) {
  return a.info == b.info && a.incarnation == b.incarnation && a.draining == b.draining && a.silent == b.silent &&
         a.quarantined == b.quarantined && a.quarantined_until_ms == b.quarantined_until_ms &&
         a.quarantine_reason == b.quarantine_reason && a.strikes == b.strikes && a.slots == b.slots && a.registered_wall_ms == b.registered_wall_ms;
}

std::int64_t Worker::SlotsUsed() const {
  return std::count_if(slots.begin(), slots.end(), [](const domain::AttemptKey& key) { return key.attempt != 0; });
}

std::string Worker::StatusText() const {
  if (silent) return "silent";
  if (!connected) return "away";
  if (draining) return "draining";
  return quarantined ? "quarantined" : "live";
}

const Sweep* State::FindSweep(const SweepId& id) const { return FindIn(sweeps, id); }
const Run* State::FindRun(const RunId& id) const { return FindIn(runs, id); }
const Worker* State::FindWorker(const WorkerId& id) const { return FindIn(workers, id); }
const Attempt* State::FindAttempt(const domain::AttemptKey& key) const {
  const std::shared_ptr<const Attempt>* found = attempts.Find(key);
  return found == nullptr ? nullptr : found->get();
}

bool IsCurrent(const State& state, const domain::AttemptKey& key) {
  const Run* run = state.FindRun(key.run);
  return run != nullptr && key.attempt != 0 && run->attempt == key.attempt;
}

bool SameStored(const State& a, const State& b) {
  const auto same_entry = [](const auto& x, const auto& y) { return x == y; };
  return SameMap(a.sweeps, b.sweeps) && SameMap(a.runs, b.runs) && SameMap(a.workers, b.workers) &&
         SameMap(a.attempts, b.attempts) && a.counters == b.counters && a.attempt_floor == b.attempt_floor &&
         std::equal(a.sweeps_by_key.begin(), a.sweeps_by_key.end(), b.sweeps_by_key.begin(), b.sweeps_by_key.end(), same_entry) &&
         std::equal(a.sweeps_by_number.begin(), a.sweeps_by_number.end(), b.sweeps_by_number.begin(), b.sweeps_by_number.end(),
                    same_entry);
}

}  // namespace entrain::core
