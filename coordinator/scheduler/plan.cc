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
    for (const auto& [owner, heads] : scratch_.queue.heads()) Add(owner, heads.begin()->first);
  }

  Plan Make() {
    while (!turns_.empty()) {
      // Nothing is free any more and nothing is to be kept: the rest waits for the same reason.
      if (kept_ && scratch_.fleet.free_slots() == 0) break;
      if (plan_.placements.size() >= max_placements_) {
        plan_.more = true;
        break;
      }
      const auto first = turns_.begin();
      const std::string owner = first->second.first;
      const Rank rank = first->second.second;
      turns_.erase(first);
      // A run that is placed leaves the queue; the next of its class comes later in order.
      Try(*scratch_.queue.First(scratch_.queue.heads().Find(owner)->Find(rank)->queue_class));
      AddNext(owner, rank);
    }
    return std::move(plan_);
  }

 private:
  void Add(const std::string& owner, const Rank& rank) { turns_.emplace(scratch_.queue.TurnOf(owner, rank), std::pair(owner, rank)); }

  // The owner's best head after the last one tried; placing it changed nobody else's turn.
  void AddNext(const std::string& owner, const Rank& rank) {
    const PersistentMap<Rank, Head>* heads = scratch_.queue.heads().Find(owner);
    if (heads == nullptr) return;
    const auto next = heads->UpperBound(rank);
    if (next != heads->end()) Add(owner, next->first);
  }

  bool KnownNotToFit(const Shape& shape) const {
    return std::find(not_fitting_.begin(), not_fitting_.end(), shape) != not_fitting_.end();
  }

  void Try(const Request request) {
    std::optional<ScoredGang> found;
    if (!KnownNotToFit(request.shape)) found = FindGang(scratch_.fleet, request.shape, request.preferred_device);
    if (found.has_value()) {
      Place(request, std::move(found->gang));
      return;
    }
    plan_.waiting.push_back(request);
    not_fitting_.push_back(request.shape);
    if (!request.reserved.empty()) {
      Keep(request.reserved);
    } else if (!kept_ && CouldEverFit(scratch_.fleet, request.shape)) {
      Keep(MachinesToKeep(scratch_.fleet, request.shape));
      kept_ = true;
      // Its place under its sweep's cap is kept too, or smaller runs of its own sweep would go first for ever.
      scratch_.queue.CountActive({.sweep = request.sweep, .owner = request.owner, .priority = request.priority, .slots = 0}, +1);
    }
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
  std::map<Turn, std::pair<std::string, Rank>> turns_;
  // Free slots only shrink while a plan is made, so what did not fit once does not fit later.
  std::vector<Shape> not_fitting_;
  bool kept_ = false;
  Plan plan_;
};

}  // namespace

Plan MakePlan(const Index& index, std::size_t max_placements) { return Planner(index, max_placements).Make(); }

}  // namespace entrain::scheduler
