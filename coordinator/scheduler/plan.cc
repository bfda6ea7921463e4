#include "coordinator/scheduler/plan.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "coordinator/scheduler/placement.h"

namespace entrain::scheduler {
namespace {

bool Later(const std::pair<Turn, std::size_t>& a, const std::pair<Turn, std::size_t>& b) { return b.first < a.first; }

}  // namespace

Planner::Planner(const Index* index, std::size_t max_listed) : index_(index), max_listed_(max_listed) {
  const auto& heads_by_owner = index_->queue.heads();
  cursors_.reserve(heads_by_owner.size());
  turns_.reserve(heads_by_owner.size());
  for (const auto& [owner, heads] : heads_by_owner) {
    cursors_.push_back({owner, heads, heads.begin(), index_->queue.SlotsOf(owner)});
    turns_.emplace_back(MakeTurn(cursors_.back().at->first, cursors_.back().owner_slots), cursors_.size() - 1);
  }
  std::make_heap(turns_.begin(), turns_.end(), Later);
}

std::optional<Placement> Planner::Next() {
  if (placed_after_.has_value()) TakeUp();
  while (!turns_.empty()) {
    // Nothing that waits fits any more, or nothing is free, and nothing more is to be kept.
    if (kept_ && (FreeSlots() == 0 || not_fitting_.size() >= queue().shapes().size())) break;
    std::pop_heap(turns_.begin(), turns_.end(), Later);
    Cursor& cursor = cursors_[turns_.back().second];
    const Rank rank = cursor.at->first;
    std::optional<Placement> placement;
    switch (Try(rank, cursor.at->second.queue_class, &placement)) {
      case Tried::kWaits:
        ++cursor.at;
        Resume(cursor.at != cursor.heads.end());
        break;
      case Tried::kQueueChanged:
        Resume(GoOn(&cursor, rank));
        break;
      case Tried::kPlaced:
        placed_after_ = rank;
        // Let go: what the caller changes need not be copied for it.
        cursor.heads = {};
        return placement;
    }
  }
  return std::nullopt;
}

void Planner::TakeUp() {
  const Rank rank = *placed_after_;
  placed_after_.reset();
  if (kept_holder_.has_value()) {
    capped_queue_ = index_->queue;
    capped_queue_->CountActive(*kept_holder_, +1);
  }
  // It left the queue or took a place under its cap, and its owner holds more; nobody else's turn changed.
  Resume(GoOn(&cursors_[turns_.back().second], rank));
}

bool Planner::GoOn(Cursor* cursor, const Rank& after) const {
  const PersistentMap<Rank, Head>* heads = queue().heads().Find(cursor->owner);
  if (heads == nullptr) return false;
  cursor->heads = *heads;
  cursor->at = cursor->heads.UpperBound(after);
  cursor->owner_slots = queue().SlotsOf(cursor->owner);
  return cursor->at != cursor->heads.end();
}

// Puts the owner whose turn it was back in line, or out of it.
void Planner::Resume(bool more) {
  if (!more) {
    turns_.pop_back();
    return;
  }
  const Cursor& cursor = cursors_[turns_.back().second];
  turns_.back().first = MakeTurn(cursor.at->first, cursor.owner_slots);
  std::push_heap(turns_.begin(), turns_.end(), Later);
}

Planner::Tried Planner::Try(const Rank& rank, const QueueClass& queue_class, std::optional<Placement>* placement) {
  const bool known = std::find(not_fitting_.begin(), not_fitting_.end(), queue_class.shape) != not_fitting_.end();
  const bool lists = waiting_.size() < max_listed_;
  // Machines are only ever reserved for runs that are aged.
  if (known && kept_ && rank.not_aged && !lists) return Tried::kWaits;
  const Request& request = *queue().First(queue_class);
  std::optional<ScoredGang> found;
  if (!known) found = FindGang(index_->fleet, request.shape, request.preferred_device, kept_machines_);
  if (found.has_value()) {
    placement->emplace(Placement{request, std::move(found->gang)});
    return Tried::kPlaced;
  }
  waits_ = true;
  if (lists) waiting_.push_back(request);
  if (!known) not_fitting_.push_back(request.shape);
  if (!request.reserved.empty()) {
    kept_machines_.Add(index_->fleet, request.reserved);
  } else if (!kept_ && CouldEverFit(index_->fleet, request.shape)) {
    KeepFor(request);
    return Tried::kQueueChanged;
  }
  return Tried::kWaits;
}

void Planner::KeepFor(const Request& request) {
  kept_machines_.Add(index_->fleet, MachinesToKeep(index_->fleet, request.shape, kept_machines_));
  kept_ = true;
  if (index_->queue.Cap(request.sweep) == 0) return;
  // Its place under its sweep's cap is kept too, or smaller runs of its own sweep would go first for ever.
  kept_holder_ = Holder{.sweep = request.sweep, .owner = request.owner, .priority = request.priority, .slots = 0};
  capped_queue_ = index_->queue;
  capped_queue_->CountActive(*kept_holder_, +1);
}

Plan MakePlan(const Index& index, std::size_t max_placements, std::size_t max_listed) {
  Index scratch = index;
  Planner planner(&scratch, max_listed);
  Plan plan;
  while (plan.placements.size() < max_placements) {
    std::optional<Placement> next = planner.Next();
    if (!next.has_value()) break;
    const Request& request = next->request;
    for (const domain::GangMember& member : next->gang.members) scratch.fleet.SetBusy(member.worker, member.slots, true);
    scratch.queue.Remove(request);
    scratch.queue.CountActive(
        {.sweep = request.sweep, .owner = request.owner, .priority = request.priority, .slots = request.shape.Slots()}, +1);
    plan.placements.push_back(std::move(*next));
  }
  plan.more = plan.placements.size() >= max_placements;
  plan.waiting = planner.waiting();
  plan.waits = planner.waits();
  return plan;
}

}  // namespace entrain::scheduler
