#include "coordinator/scheduler/plan.h"

#include <algorithm>
#include <optional>

#include "coordinator/scheduler/placement.h"

namespace entrain::scheduler {
namespace {

class Planner {
 public:
  Planner(const Index& index, std::size_t max_placements) : scratch_(index), max_placements_(max_placements) {}

  Plan Make() {
    while (const std::optional<QueueClass> queue_class = NextHead()) {
      // Nothing is free any more and nothing is to be kept: the rest waits for the same reason.
      if (kept_ && scratch_.fleet.free_slots() == 0) break;
      if (plan_.placements.size() >= max_placements_) {
        plan_.more = true;
        break;
      }
      Try(*scratch_.queue.First(*queue_class));
    }
    return std::move(plan_);
  }

 private:
  // The best head after the last one tried. A head that was placed has left the queue; the next of its class comes later in order.
  std::optional<QueueClass> NextHead() {
    const PersistentMap<Rank, QueueClass>& heads = scratch_.queue.heads();
    const auto head = last_.has_value() ? heads.UpperBound(*last_) : heads.begin();
    if (head == heads.end()) return std::nullopt;
    last_ = head->first;
    return head->second;
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
    if (!kept_ && CouldEverFit(scratch_.fleet, request.shape)) Keep(request);
  }

  void Place(const Request& request, domain::Gang gang) {
    for (const domain::GangMember& member : gang.members) scratch_.fleet.SetBusy(member.worker, member.slots, true);
    scratch_.queue.Remove(request);
    scratch_.queue.CountActive(request.sweep, +1);
    plan_.placements.push_back({request, std::move(gang)});
  }

  void Keep(const Request& request) {
    for (const WorkerId& worker : MachinesToKeep(scratch_.fleet, request.shape)) {
      kept_ = true;
      Machine machine = *scratch_.fleet.Find(worker);
      machine.kept = true;
      scratch_.fleet.Put(worker, machine);
    }
    // Its place under its sweep's cap is kept too, or smaller runs of its own sweep would go first for ever.
    if (kept_) scratch_.queue.CountActive(request.sweep, +1);
  }

  Index scratch_;
  std::size_t max_placements_;
  std::optional<Rank> last_;
  // Free slots only shrink while a plan is made, so what did not fit once does not fit later.
  std::vector<Shape> not_fitting_;
  bool kept_ = false;
  Plan plan_;
};

}  // namespace

Plan MakePlan(const Index& index, std::size_t max_placements) { return Planner(index, max_placements).Make(); }

}  // namespace entrain::scheduler
