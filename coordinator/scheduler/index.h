// What the scheduler sees, kept up to date by the core: free slots by kind of machine, and the queue by shape. Copies share
// structure. Every question that a decision asks costs O(kinds of machines * slots a machine) or O(log n), never O(workers) or
// O(queued runs).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "coordinator/scheduler/persistent_map.h"
#include "domain/fleet.h"
#include "domain/run_config.h"

namespace entrain::scheduler {

// What a run needs: `machines` groups of `ranks` slots; each group lies on one machine, groups may share one.
struct Shape {
  std::int64_t machines = 1;
  std::int64_t ranks = 1;
  std::int64_t Slots() const { return machines * ranks; }
  friend auto operator<=>(const Shape&, const Shape&) = default;
};
Shape ShapeOf(const domain::Resources& resources);

// A gang lies in one pool: its machines are alike, so that its numbers are.
struct Pool {
  domain::SlotKind kind = domain::SlotKind::kCpu;
  std::string device;
  friend auto operator<=>(const Pool&, const Pool&) = default;
};
struct MachineClass {
  Pool pool;
  std::int32_t slots = 0;
  bool has_peers = true;  // it may hold a part of a gang over several machines
  friend auto operator<=>(const MachineClass&, const MachineClass&) = default;
};

// One worker as the scheduler sees it.
struct Machine {
  MachineClass machine_class;
  std::vector<bool> busy;  // one a slot
  std::int32_t free = 0;
  bool silent = false;
  bool draining = false;
  bool connected = false;
  bool quarantined = false;
  bool Usable() const { return !silent && !draining && connected && !quarantined; }
  friend bool operator==(const Machine&, const Machine&) = default;
};

// The machines of one class.
struct ClassFleet {
  std::vector<PersistentSet<WorkerId>> usable_by_free;  // [free slots], 0..slots
  std::int64_t known = 0;
  // Of those: not usable, each counted under the first that holds.
  std::int64_t silent = 0;
  std::int64_t draining = 0;
  std::int64_t not_connected = 0;
  std::int64_t quarantined = 0;
};

// Machines that an engine can add to the fleet; not known machines, so that nothing is planned on them.
struct Elastic {
  std::string pool;
  std::int32_t slots = 0;       // of one machine
  std::int64_t machines = 0;    // at most
  bool CouldHold(const Shape& shape) const { return shape.ranks >= 1 && slots / shape.ranks * machines >= shape.machines; }
  friend bool operator==(const Elastic&, const Elastic&) = default;
};

class Fleet {
 public:
  // Once, before the first machine.
  void SetElastic(std::vector<Elastic> elastic) { elastic_ = std::make_shared<const std::vector<Elastic>>(std::move(elastic)); }
  // The first pool whose machines, as many as it may have, could hold the gang; nullptr: none.
  const Elastic* ElasticFor(const Shape& shape) const;

  // Adds or replaces.
  void Put(const WorkerId& worker, const Machine& machine);
  // It must be there.
  void Remove(const WorkerId& worker);
  void SetBusy(const WorkerId& worker, const std::vector<std::int32_t>& slots, bool busy);
  const Machine* Find(const WorkerId& worker) const;

  const PersistentMap<MachineClass, CopyOnWrite<ClassFleet>>& classes() const { return classes_; }
  const PersistentMap<WorkerId, CopyOnWrite<Machine>>& machines() const { return machines_; }
  // On usable machines.
  std::int64_t free_slots() const { return free_slots_; }

 private:
  void Count(const WorkerId& worker, const Machine& machine, int sign);
  // A usable machine that has `after` free slots now and had `before`.
  void Move(const WorkerId& worker, const MachineClass& machine_class, std::int32_t before, std::int32_t after);

  std::shared_ptr<const std::vector<Elastic>> elastic_;  // null: none
  PersistentMap<MachineClass, CopyOnWrite<ClassFleet>> classes_;
  PersistentMap<WorkerId, CopyOnWrite<Machine>> machines_;
  std::int64_t free_slots_ = 0;
};

// One waiting run.
struct Request {
  RunId run;
  SweepId sweep;
  std::string owner;
  std::int64_t priority = 0;   // higher first
  bool aged = false;           // waited too long at the head of its class: then before its owner's fair share is looked at
  std::uint64_t number = 0;    // then lower first
  Shape shape;
  std::string preferred_device;    // where its checkpoint was written; empty: none
  std::vector<WorkerId> reserved;  // machines that are being emptied for it by preemption
  friend bool operator==(const Request&, const Request&) = default;
};

// Place among the runs of one owner: smaller goes first.
struct Rank {
  std::int64_t minus_priority = 0;
  bool not_aged = true;
  std::uint64_t number = 0;
  friend auto operator<=>(const Rank&, const Rank&) = default;
};
Rank RankOf(const Request& request);

// Place among all runs. Within a priority aged runs go first, in order of submission; the others by fair share: the owner who holds the
// fewest slots now (max-min fairness over running slots, which is dominant resource fairness with one resource), then by submission.
struct Turn {
  std::int64_t minus_priority = 0;
  bool not_aged = true;
  std::int64_t owner_slots = 0;  // 0 of an aged run
  std::uint64_t number = 0;
  friend auto operator<=>(const Turn&, const Turn&) = default;
};
// Of a run with this rank, whose owner holds so many slots.
Turn MakeTurn(const Rank& rank, std::int64_t owner_slots);

// Runs that differ only in rank: if the first cannot be placed, none can. Sweeps with a cap have classes of their own.
struct QueueClass {
  std::string owner;
  SweepId capped_sweep;  // empty: no cap
  Shape shape;
  friend auto operator<=>(const QueueClass&, const QueueClass&) = default;
};

// The first run of a class that is not at its cap.
struct Head {
  QueueClass queue_class;
  std::int64_t since_ms = 0;  // coordinator time since when it has been the first
};

// A run that began or stopped to hold slots.
struct Holder {
  SweepId sweep;
  std::string owner;
  std::int64_t priority = 0;
  std::int64_t slots = 0;
};

// The waiting runs of a class, in order.
using Line = PersistentMap<Rank, CopyOnWrite<Request>>;

class Queue {
 public:
  // Coordinator time from which on new heads count their age; Apply sets it.
  void SetNow(std::int64_t now_ms) { now_ms_ = now_ms; }
  // A new process: no head has waited yet.
  void RestartAges();

  // 0: no cap. Set before the sweep's first Push.
  void SetCap(const SweepId& sweep, std::int64_t max_concurrent_runs);
  void Push(const Request& request);
  // Whether it was there.
  bool Remove(const Request& request);
  // +1 or -1.
  void CountActive(const Holder& holder, int change);

  bool AtCap(const SweepId& sweep) const;
  std::int64_t Cap(const SweepId& sweep) const;
  std::int64_t Active(const SweepId& sweep) const;
  // Slots that the owner's runs hold.
  std::int64_t SlotsOf(const std::string& owner) const;
  // Whether some run of a lower priority holds slots.
  bool HoldsBelow(std::int64_t priority) const;

  // Classes that wait, by shape.
  const PersistentMap<Shape, std::int64_t>& shapes() const { return shapes_; }
  // By owner, best first.
  const PersistentMap<std::string, PersistentMap<Rank, Head>>& heads() const { return heads_; }
  const Request* First(const QueueClass& queue_class) const;
  // nullptr: none.
  const Line* Waiting(const QueueClass& queue_class) const;
  const PersistentMap<QueueClass, Line>& classes() const { return classes_; }
  QueueClass ClassOf(const Request& request) const;
  Turn TurnOf(const std::string& owner, const Rank& rank) const;
  // Waiting runs, of sweeps below their caps, that go before this one whatever the fair shares become: O(classes up to the limit * log n).
  struct AheadOf {
    std::size_t count = 0;     // counting stops at `limit`
    std::vector<RunId> first;  // of them, by rank; at most `named`
  };
  AheadOf Ahead(const Request& request, std::size_t limit, std::size_t named) const;
  // Of the owners whose runs of the same priority go first because they hold fewer slots, the one with the fewest; nullptr: none.
  const std::string* OwnerAhead(const Request& request) const;
  std::size_t size() const { return size_; }

 private:
  struct Capped {
    std::int64_t cap = 0;
    std::int64_t active = 0;
  };
  std::vector<RunId> FirstAhead(const Request& request, std::size_t named) const;
  void Refresh(const QueueClass& queue_class, std::optional<Rank> old_head);
  std::optional<Rank> HeadRank(const QueueClass& queue_class) const;
  void CountShape(const Shape& shape, int change);
  void CountCap(const Holder& holder, int change);

  PersistentMap<QueueClass, Line> classes_;
  PersistentMap<std::string, PersistentMap<Rank, Head>> heads_;
  PersistentMap<SweepId, Capped> capped_;
  PersistentMap<Shape, std::int64_t> shapes_;
  PersistentMap<std::string, std::int64_t> slots_by_owner_;
  PersistentMap<std::int64_t, std::int64_t> slots_by_priority_;
  std::int64_t now_ms_ = 0;
  std::size_t size_ = 0;
};

struct Index {
  Fleet fleet;
  Queue queue;
};

}  // namespace entrain::scheduler
