#include "coordinator/scheduler/plan.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "coordinator/scheduler/placement.h"

namespace entrain::scheduler {
namespace {

class Planner {
 public:
  Planner(const Index& index, std::size_t max_placements, std::size_t max_listed)
      : scratch_(index), max_placements_(max_placements), max_listed_(max_listed) {
    const auto& heads_by_owner = scratch_.queue.heads();
    cursors_.reserve(heads_by_owner.size());
    for (const auto& [owner, heads] : heads_by_owner) {
      cursors_.push_back({owner, heads, heads.begin(), scratch_.queue.SlotsOf(owner)});
      turns_.emplace_back(TurnOf(cursors_.back()), cursors_.size() - 1);
    }
    std::make_heap(turns_.begin(), turns_.end(), Later);
  }

  Plan Make() {
    while (!turns_.empty()) {
      // Nothing that waits fits any more, or nothing is free, and nothing more is to be kept.
      if (kept_ && (scratch_.fleet.free_slots() == 0 || not_fitting_.size() >= scratch_.queue.shapes().size())) break;
      if (plan_.placements.size() >= max_placements_) {
        plan_.more = true;
        break;
      }
      std::pop_heap(turns_.begin(), turns_.end(), Later);
      Cursor& cursor = cursors_[turns_.back().second];
      if (!Advance(&cursor)) {
        turns_.pop_back();
        continue;
      }
      turns_.back().first = TurnOf(cursor);
      std::push_heap(turns_.begin(), turns_.end(), Later);
    }
    return std::move(plan_);
  }

 private:
  // Where one owner's heads have been tried up to. It keeps the map that its iterator walks.
  struct Cursor {
    std::string owner;
    PersistentMap<Rank, Head> heads;
    PersistentMap<Rank, Head>::Iterator at;
    std::int64_t owner_slots = 0;
  };
  using TurnOfCursor = std::pair<Turn, std::size_t>;
  static bool Later(const TurnOfCursor& a, const TurnOfCursor& b) { return b.first < a.first; }
  static Turn TurnOf(const Cursor& cursor) { return MakeTurn(cursor.at->first, cursor.owner_slots); }

  // Tries the owner's next head; whether there is another one.
  bool Advance(Cursor* cursor) {
    const Rank rank = cursor->at->first;
    if (!Try(rank, cursor->at->second.queue_class)) {
      ++cursor->at;
      return cursor->at != cursor->heads.end();
    }
    // It left the queue or took a place under its cap, or its owner holds more; nobody else's turn changed.
    const PersistentMap<Rank, Head>* heads = scratch_.queue.heads().Find(cursor->owner);
    if (heads == nullptr) return false;
    cursor->heads = *heads;
    cursor->at = cursor->heads.UpperBound(rank);
    cursor->owner_slots = scratch_.queue.SlotsOf(cursor->owner);
    return cursor->at != cursor->heads.end();
  }

  bool KnownNotToFit(const Shape& shape) const {
    return std::find(not_fitting_.begin(), not_fitting_.end(), shape) != not_fitting_.end();
  }
  bool Lists() const { return plan_.waiting.size() < max_listed_; }

  // Whether that changed its owner's part of the queue.
  bool Try(const Rank& rank, const QueueClass& queue_class) {
    const bool known = KnownNotToFit(queue_class.shape);
    // Machines are only ever reserved for runs that are aged.
    if (known && kept_ && rank.not_aged && !Lists()) return false;
    const Request request = *scratch_.queue.First(queue_class);
    std::optional<ScoredGang> found;
    if (!known) found = FindGang(scratch_.fleet, request.shape, request.preferred_device);
    if (found.has_value()) {
      Place(request, std::move(found->gang));
      return true;
    }
    plan_.waits = true;
    if (Lists()) plan_.waiting.push_back(request);
    if (!known) not_fitting_.push_back(request.shape);
    if (!request.reserved.empty()) {
      Keep(request.reserved);
    } else if (!kept_ && CouldEverFit(scratch_.fleet, request.shape)) {
      Keep(MachinesToKeep(scratch_.fleet, request.shape));
      kept_ = true;
      // Its place under its sweep's cap is kept too, or smaller runs of its own sweep would go first for ever.
      scratch_.queue.CountActive({.sweep = request.sweep, .owner = request.owner, .priority = request.priority, .slots = 0}, +1);
      return true;
    }
    return false;
  }

  void Place(const Request& request, domain::Gang gang) {
    for (const domain::GangMember& member : gang.members) scratch_.fleet.SetBusy(member.worker, member.slots, true);
    scratch_.queue.Remove(request);
    scratch_.queue.CountActive(
        {.sweep = request.sweep, .owner = request.owner, .priority = request.priority, .slots = request.shape.Slots()}, +1);
    plan_.placements.push_back({request, std::move(gang)});
  }

  void Keep(const std::vector<WorkerId>& workers) {
    for (const WorkerId& worker : workers) {
      const Machine* known = scratch_.fleet.Find(worker);
      if (known != nullptr && !known->kept) scratch_.fleet.Keep(worker);
    }
  }

  Index scratch_;
  const std::size_t max_placements_;
  const std::size_t max_listed_;
  std::vector<Cursor> cursors_;
  // A heap: the best head of every owner that was not tried yet, and whose it is.
  std::vector<TurnOfCursor> turns_;
  // Free slots only shrink while a plan is made, so what did not fit once does not fit later.
  std::vector<Shape> not_fitting_;
  bool kept_ = false;
  Plan plan_;
};

}  // namespace

Plan MakePlan(const Index& index, std::size_t max_placements, std::size_t max_listed) {
  return Planner(index, max_placements, max_listed).Make();
}

}  // namespace entrain::scheduler
