#include "coordinator/scheduler/plan.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "coordinator/scheduler/placement.h"

namespace entrain::scheduler {
namespace {

class Planner {
 public:
  Planner(const Index& index, std::size_t max_placements) : scratch_(index), max_placements_(max_placements) {
    for (const auto& [owner, heads] : scratch_.queue.heads()) {
      Cursor cursor{owner, heads, heads.begin(), scratch_.queue.SlotsOf(owner)};
      const Turn turn = TurnOf(cursor);
      turns_.emplace(turn, std::move(cursor));
    }
  }

  Plan Make() {
    while (!turns_.empty()) {
      // Nothing that waits fits any more, or nothing is free, and nothing more is to be kept.
      if (kept_ && (scratch_.fleet.free_slots() == 0 || not_fitting_.size() >= scratch_.queue.shapes().size())) break;
      if (plan_.placements.size() >= max_placements_) {
        plan_.more = true;
        break;
      }
      auto first = turns_.extract(turns_.begin());
      Cursor& cursor = first.mapped();
      const Rank rank = cursor.at->first;
      const bool changed = Try(cursor.at->second.queue_class);
      if (changed) {
        // It left the queue or took a place under its cap, or its owner holds more; nobody else's turn changed.
        const PersistentMap<Rank, Head>* heads = scratch_.queue.heads().Find(cursor.owner);
        if (heads == nullptr) continue;
        cursor.heads = *heads;
        cursor.at = cursor.heads.UpperBound(rank);
        cursor.owner_slots = scratch_.queue.SlotsOf(cursor.owner);
      } else {
        ++cursor.at;
      }
      if (cursor.at == cursor.heads.end()) continue;
      first.key() = TurnOf(cursor);
      turns_.insert(std::move(first));
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

  static Turn TurnOf(const Cursor& cursor) {
    const Rank& rank = cursor.at->first;
    return {rank.minus_priority, rank.not_aged, rank.not_aged ? cursor.owner_slots : 0, rank.number};
  }

  bool KnownNotToFit(const Shape& shape) const {
    return std::find(not_fitting_.begin(), not_fitting_.end(), shape) != not_fitting_.end();
  }

  // Whether that changed its owner's part of the queue.
  bool Try(const QueueClass& queue_class) {
    const bool known = KnownNotToFit(queue_class.shape);
    if (known && kept_ && plan_.waiting.size() >= kMaxWaitingListed) return false;
    const Request request = *scratch_.queue.First(queue_class);
    std::optional<ScoredGang> found;
    if (!known) found = FindGang(scratch_.fleet, request.shape, request.preferred_device);
    if (found.has_value()) {
      Place(request, std::move(found->gang));
      return true;
    }
    if (plan_.waiting.size() < kMaxWaitingListed) plan_.waiting.push_back(request);
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
      if (known == nullptr || known->kept) continue;
      Machine machine = *known;
      machine.kept = true;
      scratch_.fleet.Put(worker, machine);
    }
  }

  Index scratch_;
  std::size_t max_placements_;
  // The best head of every owner that was not tried yet.
  std::map<Turn, Cursor> turns_;
  // Free slots only shrink while a plan is made, so what did not fit once does not fit later.
  std::vector<Shape> not_fitting_;
  bool kept_ = false;
  Plan plan_;
};

}  // namespace

Plan MakePlan(const Index& index, std::size_t max_placements) { return Planner(index, max_placements).Make(); }

}  // namespace entrain::scheduler
