#include <algorithm>
#include <tuple>

#include "coordinator/scheduler/index.h"

namespace entrain::scheduler {

Rank RankOf(const Request& request) {
  return Rank{.minus_priority = -request.priority, .not_aged = !request.aged, .number = request.number};
}

Turn MakeTurn(const Rank& rank, std::int64_t owner_slots) {
  return Turn{.minus_priority = rank.minus_priority,
              .not_aged = rank.not_aged,
              .owner_slots = rank.not_aged ? owner_slots : 0,
              .number = rank.number};
}

Turn Queue::TurnOf(const std::string& owner, const Rank& rank) const { return MakeTurn(rank, SlotsOf(owner)); }

QueueClass Queue::ClassOf(const Request& request) const {
  return QueueClass{.owner = request.owner, .capped_sweep = capped_.Contains(request.sweep) ? request.sweep : SweepId(), .shape = request.shape};
}

void Queue::SetCap(const SweepId& sweep, std::int64_t max_concurrent_runs) {
  if (max_concurrent_runs > 0) capped_.Set(sweep, Capped{.cap = max_concurrent_runs, .active = 0});
}

std::optional<Rank> Queue::HeadRank(const QueueClass& queue_class) const {
  const Line* waiting = classes_.Find(queue_class);
  if (waiting == nullptr || AtCap(queue_class.capped_sweep)) return std::nullopt;
  return waiting->First().first;
}

void Queue::Refresh(const QueueClass& queue_class, std::optional<Rank> old_head) {
  const std::optional<Rank> head = HeadRank(queue_class);
  if (head == old_head) return;
  PersistentMap<Rank, Head>* heads = heads_.Edit(queue_class.owner);
  if (heads == nullptr) {
    heads_.Set(queue_class.owner, {});
    heads = heads_.Edit(queue_class.owner);
  }
  if (old_head.has_value()) heads->Erase(*old_head);
  if (head.has_value()) heads->Set(*head, Head{queue_class, now_ms_});
  if (heads->empty()) heads_.Erase(queue_class.owner);
}

void Queue::RestartAges() {
  PersistentMap<std::string, PersistentMap<Rank, Head>> restarted;
  for (const auto& [owner, heads] : heads_) {
    PersistentMap<Rank, Head> mine;
    for (const auto& [rank, head] : heads) mine.Set(rank, Head{head.queue_class, now_ms_});
    restarted.Set(owner, std::move(mine));
  }
  heads_ = std::move(restarted);
}

void Queue::Push(const Request& request) {
  const QueueClass queue_class = ClassOf(request);
  const std::optional<Rank> old_head = HeadRank(queue_class);
  Line* waiting = classes_.Edit(queue_class);
  if (waiting == nullptr) {
    CountShape(request.shape, +1);
    classes_.Set(queue_class, {});
    waiting = classes_.Edit(queue_class);
  }
  const std::size_t before = waiting->size();
  waiting->Set(RankOf(request), CopyOnWrite<Request>(request));
  size_ += waiting->size() - before;
  Refresh(queue_class, old_head);
}

void Queue::CountShape(const Shape& shape, int change) {
  const std::int64_t* found = shapes_.Find(shape);
  const std::int64_t classes = (found == nullptr ? 0 : *found) + change;
  if (classes == 0) {
    shapes_.Erase(shape);
  } else {
    shapes_.Set(shape, classes);
  }
}

bool Queue::Remove(const Request& request) {
  const QueueClass queue_class = ClassOf(request);
  const Rank rank = RankOf(request);
  const Line* found = classes_.Find(queue_class);
  if (found == nullptr || !found->Contains(rank)) return false;
  const std::optional<Rank> old_head = HeadRank(queue_class);
  Line* const waiting = classes_.Edit(queue_class);
  waiting->Erase(rank);
  --size_;
  if (waiting->empty()) {
    classes_.Erase(queue_class);
    CountShape(request.shape, -1);
  }
  Refresh(queue_class, old_head);
  return true;
}

void Queue::CountActive(const Holder& holder, int change) {
  const auto add = [&](auto* map, const auto& key) {
    const std::int64_t* found = map->Find(key);
    const std::int64_t slots = (found == nullptr ? 0 : *found) + change * holder.slots;
    if (slots == 0) {
      map->Erase(key);
    } else {
      map->Set(key, slots);
    }
  };
  add(&slots_by_owner_, holder.owner);
  add(&slots_by_priority_, holder.priority);
  CountCap(holder, change);
}

void Queue::CountCap(const Holder& holder, int change) {
  const SweepId& sweep = holder.sweep;
  const Capped* found = capped_.Find(sweep);
  if (found == nullptr) return;
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
  const QueueClass first{.owner = holder.owner, .capped_sweep = sweep, .shape = {.machines = 0, .ranks = 0}};
  for (auto at = classes_.LowerBound(first); at != classes_.end(); ++at) {
    if (at->first.owner != holder.owner || at->first.capped_sweep != sweep) break;
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

const Line* Queue::Waiting(const QueueClass& queue_class) const { return classes_.Find(queue_class); }

const Request* Queue::First(const QueueClass& queue_class) const {
  const Line* waiting = Waiting(queue_class);
  return waiting == nullptr ? nullptr : &*waiting->First().second;
}

std::int64_t Queue::SlotsOf(const std::string& owner) const {
  const std::int64_t* found = slots_by_owner_.Find(owner);
  return found == nullptr ? 0 : *found;
}

bool Queue::HoldsBelow(std::int64_t priority) const {
  return !slots_by_priority_.empty() && slots_by_priority_.First().first < priority;
}

namespace {

// Of the owner's waiting runs those with a smaller rank go before the request, whatever the fair shares become.
Rank BoundAhead(const Request& request, const std::string& owner) {
  Rank bound = RankOf(request);
  // Between two owners order of submission decides only among the aged.
  if (owner != request.owner && bound.not_aged) bound.number = 0;
  return bound;
}

}  // namespace

Queue::AheadOf Queue::Ahead(const Request& request, std::size_t limit, std::size_t named) const {
  AheadOf ahead;
  for (const auto& [owner, heads] : heads_) {
    const Rank bound = BoundAhead(request, owner);
    // Heads are in order, and nothing of a class goes before its head.
    for (const auto& [head_rank, head] : heads) {
      if (!(head_rank < bound) || ahead.count >= limit) break;
      ahead.count += Waiting(head.queue_class)->CountBelow(bound);
    }
  }
  ahead.count = std::min(ahead.count, limit);
  if (ahead.count > 0) ahead.first = FirstAhead(request, named);
  return ahead;
}

std::vector<RunId> Queue::FirstAhead(const Request& request, std::size_t named) const {
  struct HeadsOfOwner {
    Rank bound;
    PersistentMap<Rank, Head>::Iterator at;
    PersistentMap<Rank, Head>::Iterator end;
  };
  std::vector<HeadsOfOwner> owners;
  owners.reserve(heads_.size());
  for (const auto& [owner, heads] : heads_) owners.push_back({BoundAhead(request, owner), heads.begin(), heads.end()});
  // Lines whose head was named, after what was named of them.
  struct Begun {
    Rank bound;
    Line::Iterator at;
    Line::Iterator end;
  };
  std::vector<Begun> begun;
  const auto first_of = [](auto* all) {
    auto* best = static_cast<decltype(all->data())>(nullptr);
    for (auto& some : *all) {
      if (some.at == some.end || !(some.at->first < some.bound)) continue;
      if (best == nullptr || some.at->first < best->at->first) best = &some;
    }
    return best;
  };
  std::vector<RunId> first;
  while (first.size() < named) {
    HeadsOfOwner* const head = first_of(&owners);
    Begun* const line = first_of(&begun);
    if (head == nullptr && line == nullptr) break;
    if (line != nullptr && (head == nullptr || line->at->first < head->at->first)) {
      first.push_back(line->at->second->run);
      ++line->at;
      continue;
    }
    const Line& waiting = *Waiting(head->at->second.queue_class);
    begun.push_back({head->bound, waiting.begin(), waiting.end()});
    ++head->at;
    first.push_back(begun.back().at->second->run);
    ++begun.back().at;
  }
  return first;
}

const std::string* Queue::OwnerAhead(const Request& request) const {
  if (request.aged) return nullptr;
  const std::string* best = nullptr;
  for (const auto& [owner, heads] : heads_) {
    if (owner == request.owner || SlotsOf(owner) >= SlotsOf(best == nullptr ? request.owner : *best)) continue;
    const auto same = heads.LowerBound(Rank{.minus_priority = -request.priority, .not_aged = false, .number = 0});
    if (same != heads.end() && same->first.minus_priority == -request.priority) best = &owner;
  }
  return best;
}

}  // namespace entrain::scheduler
