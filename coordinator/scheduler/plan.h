// Snapshot -> plan. Runs go by turn (index.h): priority, then those that waited too long, then the owner's fair share, then
// submission. The first that fits nowhere keeps the machines it will fit on soonest; whatever comes after it may use only the rest
// (backfill), so that small runs never starve a large gang. Which gang is the first changes with the owners' shares; one that has waited
// too long at the head of its class is aged by the core, and then nothing of its priority goes first any more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/scheduler/index.h"
#include "coordinator/scheduler/placement.h"
#include "domain/fleet.h"

namespace entrain::scheduler {

struct Placement {
  Request request;
  domain::Gang gang;
};
inline constexpr std::size_t kMaxWaitingListed = 64;

// A plan in the making, over an index that the caller changes as it places what comes out: nothing is copied for it.
class Planner {
 public:
  // Listing costs as much as planning: who does not look at `waiting` asks for none.
  Planner(const Index* index, std::size_t max_listed);

  // What is placed next; nullopt: nothing more. Before the next call the caller places it in the index: its slots are busy, it has left the
  // queue and is counted as active.
  std::optional<Placement> Next();

  // The first waiting run of every class that was tried and not placed, in order; at most as many as were asked for.
  const std::vector<Request>& waiting() const { return waiting_; }
  // Something was tried and not placed, listed or not.
  bool waits() const { return waits_; }

 private:
  // Where one owner's heads have been tried up to. It keeps the map that its iterator walks.
  struct Cursor {
    std::string owner;
    PersistentMap<Rank, Head> heads;
    PersistentMap<Rank, Head>::Iterator at;
    std::int64_t owner_slots = 0;
  };
  using TurnOfCursor = std::pair<Turn, std::size_t>;
  enum class Tried { kWaits, kQueueChanged, kPlaced };

  const Queue& queue() const { return capped_queue_.has_value() ? *capped_queue_ : index_->queue; }
  std::int64_t FreeSlots() const { return index_->fleet.free_slots() - kept_machines_.free_slots(); }
  void TakeUp();
  // The owner's next head after this one, in the queue as it is now; whether there is one.
  bool GoOn(Cursor* cursor, const Rank& after) const;
  void Resume(bool more);
  Tried Try(const Rank& rank, const QueueClass& queue_class, std::optional<Placement>* placement);
  void KeepFor(const Request& request);

  const Index* const index_;
  const std::size_t max_listed_;
  std::vector<Cursor> cursors_;
  // A heap: the best head of every owner that was not tried yet, and whose it is. While `placed_after_` is set the last one is out of it.
  std::vector<TurnOfCursor> turns_;
  std::optional<Rank> placed_after_;
  // Free slots only shrink while a plan is made, so what did not fit once does not fit later.
  std::vector<Shape> not_fitting_;
  bool kept_ = false;
  KeptMachines kept_machines_;
  // The gang that machines are kept for has a place under its sweep's cap, where that has one.
  std::optional<Holder> kept_holder_;
  std::optional<Queue> capped_queue_;
  std::vector<Request> waiting_;
  bool waits_ = false;
};

struct Plan {
  std::vector<Placement> placements;
  std::vector<Request> waiting;  // as Planner has them
  bool waits = false;
  // The limit was reached: plan again.
  bool more = false;
};

// All of it at once.
Plan MakePlan(const Index& index, std::size_t max_placements, std::size_t max_listed = kMaxWaitingListed);

// Why a run waits, with numbers that are true for this snapshot. `name` gives a run's name for people.
struct WaitReason {
  bool never = false;
  std::string text;
};
using RunNames = std::function<std::string(const RunId&)>;
WaitReason Explain(const Index& index, const Request& request, const RunNames& name);
// For a gang that nobody queued yet. Empty text: it could start on an idle fleet.
WaitReason ExplainFit(const Fleet& fleet, const Shape& shape);

}  // namespace entrain::scheduler
