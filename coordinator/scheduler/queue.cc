#include "coordinator/scheduler/index.h"

namespace entrain::scheduler {

Rank RankOf(const Request& request) { return Rank{.minus_priority = -request.priority, .number = request.number}; }

QueueClass Queue::ClassOf(const Request& request) const {
  return QueueClass{.capped_sweep = capped_.Contains(request.sweep) ? request.sweep : SweepId(), .shape = request.shape};
}

void Queue::SetCap(const SweepId& sweep, std::int64_t max_concurrent_runs) {
  if (max_concurrent_runs > 0) capped_.Set(sweep, Capped{.cap = max_concurrent_runs, .active = 0});
}

std::optional<Rank> Queue::HeadRank(const QueueClass& queue_class) const {
  const PersistentMap<Rank, Request>* waiting = classes_.Find(queue_class);
  if (waiting == nullptr || AtCap(queue_class.capped_sweep)) return std::nullopt;
  return waiting->begin()->first;
}

void Queue::Refresh(const QueueClass& queue_class, std::optional<Rank> old_head) {
  const std::optional<Rank> head = HeadRank(queue_class);
  if (head == old_head) return;
  if (old_head.has_value()) heads_.Erase(*old_head);
  if (head.has_value()) heads_.Set(*head, queue_class);
}

void Queue::Push(const Request& request) {
  const QueueClass queue_class = ClassOf(request);
  const std::optional<Rank> old_head = HeadRank(queue_class);
  const PersistentMap<Rank, Request>* found = classes_.Find(queue_class);
  PersistentMap<Rank, Request> waiting = found == nullptr ? PersistentMap<Rank, Request>() : *found;
  const std::size_t before = waiting.size();
  waiting.Set(RankOf(request), request);
  size_ += waiting.size() - before;
  classes_.Set(queue_class, std::move(waiting));
  Refresh(queue_class, old_head);
}

bool Queue::Remove(const Request& request) {
  const QueueClass queue_class = ClassOf(request);
  const PersistentMap<Rank, Request>* found = classes_.Find(queue_class);
  if (found == nullptr) return false;
  const std::optional<Rank> old_head = HeadRank(queue_class);
  PersistentMap<Rank, Request> waiting = *found;
  if (!waiting.Erase(RankOf(request))) return false;
  --size_;
  if (waiting.empty()) {
    classes_.Erase(queue_class);
  } else {
    classes_.Set(queue_class, std::move(waiting));
  }
  Refresh(queue_class, old_head);
  return true;
}

void Queue::CountActive(const SweepId& sweep, int change) {
  const Capped* found = capped_.Find(sweep);
  if (found == nullptr || change == 0) return;
  Capped capped = *found;
  const bool was_at_cap = AtCap(sweep);
  capped.active += change;
  const bool is_at_cap = capped.active >= capped.cap;
  if (was_at_cap == is_at_cap) {
    capped_.Set(sweep, capped);
    return;
  }
  // The sweep's classes enter or leave the heads. There is one for each shape in the sweep.
  std::vector<std::pair<QueueClass, std::optional<Rank>>> mine;
  const QueueClass first{.capped_sweep = sweep, .shape = {.machines = 0, .ranks = 0}};
  for (auto at = classes_.LowerBound(first); at != classes_.end() && at->first.capped_sweep == sweep; ++at) {
    mine.emplace_back(at->first, HeadRank(at->first));
  }
  capped_.Set(sweep, capped);
  for (const auto& [queue_class, old_head] : mine) Refresh(queue_class, old_head);
}

bool Queue::AtCap(const SweepId& sweep) const {
  const Capped* found = capped_.Find(sweep);
  return found != nullptr && found->active >= found->cap;
}
std::int64_t Queue::Cap(const SweepId& sweep) const {
  const Capped* found = capped_.Find(sweep);
  return found == nullptr ? 0 : found->cap;
}
std::int64_t Queue::Active(const SweepId& sweep) const {
  const Capped* found = capped_.Find(sweep);
  return found == nullptr ? 0 : found->active;
}

const PersistentMap<Rank, Request>* Queue::Waiting(const QueueClass& queue_class) const { return classes_.Find(queue_class); }

const Request* Queue::First(const QueueClass& queue_class) const {
  const PersistentMap<Rank, Request>* waiting = Waiting(queue_class);
  return waiting == nullptr ? nullptr : &waiting->begin()->second;
}

std::int64_t Queue::CountAhead(const Rank& rank, std::int64_t limit) const {
  std::int64_t ahead = 0;
  for (const auto& [queue_class, waiting] : classes_) {
    if (AtCap(queue_class.capped_sweep)) continue;
    for (const auto& [other, request] : waiting) {
      if (!(other < rank)) break;
      if (++ahead >= limit) return ahead;
    }
  }
  return ahead;
}

}  // namespace entrain::scheduler
