#include "coordinator/pool/plan.h"

#include <algorithm>
#include <map>

#include "base/strings.h"

namespace entrain::pool {
namespace {

using State = PoolMachine::State;

constexpr std::int64_t kFirstPauseMs = 5'000;
constexpr std::int64_t kLongestPauseMs = 300'000;

std::string Machines(std::int64_t count) { return StrCat(count, count == 1 ? " machine" : " machines"); }

bool Registered(const Seen& seen) { return !seen.worker.empty(); }

// It has been silent for so long that nothing is expected of it.
bool Overdue(const Seen& seen, std::int64_t now_ms) {
  const bool awaited = seen.machine.state == State::kUp && (!Registered(seen) || !seen.connected);
  return awaited && now_ms - seen.since_ms >= kRegisterLimitMs;
}

bool Leaving(const Seen& seen) { return seen.machine.state == State::kLeaving || seen.draining; }

// Slots that waiting runs may count on, now or soon. A worker that is away for a moment comes back with what it has.
std::int64_t FreeSlots(const Seen& seen, const PoolLimits& limits, std::int64_t now_ms) {
  if (Leaving(seen) || seen.barred || Overdue(seen, now_ms)) return 0;
  return Registered(seen) ? std::max<std::int64_t>(0, seen.slots - seen.used) : limits.shape.slots;
}

// Where waiting runs are put, machine by machine, the known ones first.
class Packing {
 public:
  Packing(const std::vector<Seen>& machines, const PoolLimits& limits, std::int64_t now_ms) : limits_(limits), used_(machines.size()) {
    for (std::size_t i = 0; i < machines.size(); ++i) {
      const Seen& seen = machines[i];
      // Held machines last: they are on their way out. A machine that is not there yet comes after those that are.
      const int rank = seen.held ? 2 : Registered(seen) ? 0 : 1;
      bins_.push_back({i, rank, FreeSlots(seen, limits, now_ms)});
    }
    std::stable_sort(bins_.begin(), bins_.end(), [](const Bin& a, const Bin& b) { return a.rank < b.rank; });
  }

  // All groups of the gang or none; on at most `may_add` new machines beyond those that were added already.
  bool Place(const scheduler::Shape& shape, std::int64_t may_add) {
    const std::vector<Bin> before = bins_;
    const std::int64_t added_before = added_;
    std::int64_t left = shape.machines;
    for (Bin& bin : bins_) left -= Fill(&bin, shape.ranks, left);
    while (left > 0 && added_ - added_before < may_add && limits_.shape.slots >= shape.ranks) {
      ++added_;
      bins_.push_back({kNew, 3, limits_.shape.slots});
      left -= Fill(&bins_.back(), shape.ranks, left);
    }
    if (left > 0) {
      bins_ = before;
      added_ = added_before;
      return false;
    }
    for (const Bin& bin : bins_) {
      if (bin.index != kNew && bin.taken) used_[bin.index] = true;
    }
    return true;
  }

  std::int64_t added() const { return added_; }
  bool used(std::size_t index) const { return used_[index]; }

 private:
  static constexpr std::size_t kNew = static_cast<std::size_t>(-1);
  struct Bin {
    std::size_t index;
    int rank;
    std::int64_t free;
    bool taken = false;
  };
  static std::int64_t Fill(Bin* bin, std::int64_t ranks, std::int64_t wanted) {
    const std::int64_t groups = std::min(wanted, bin->free / ranks);
    if (groups <= 0) return 0;
    bin->free -= groups * ranks;
    bin->taken = true;
    return groups;
  }

  const PoolLimits& limits_;
  std::vector<Bin> bins_;
  std::vector<bool> used_;
  std::int64_t added_ = 0;
};

// Machines that the pool would need for the gang alone; 0: its machines are too small, or the gang cannot span them.
std::int64_t MachinesFor(const scheduler::Shape& shape, const PoolLimits& limits) {
  if (shape.ranks < 1 || shape.machines < 1) return 0;
  const std::int64_t groups = limits.shape.slots / shape.ranks;
  if (groups == 0 || (!limits.peers && groups < shape.machines)) return 0;
  return (shape.machines + groups - 1) / groups;
}

struct Demand {
  std::int64_t runs = 0;
  RunId first;
  void Add(const RunId& run) {
    if (runs++ == 0) first = run;
  }
  std::string Text() const {
    if (runs == 0) return "";
    return runs == 1 ? StrCat(" for run ", first.value()) : StrCat(" for run ", first.value(), " and ", runs - 1, " more");
  }
};

// Units in the order of the list.
std::vector<std::vector<std::size_t>> UnitsOf(const std::vector<Seen>& machines) {
  std::vector<std::vector<std::size_t>> units;
  std::map<std::string, std::size_t> known;
  for (std::size_t i = 0; i < machines.size(); ++i) {
    const auto [at, is_new] = known.try_emplace(machines[i].machine.unit, units.size());
    if (is_new) units.emplace_back();
    units[at->second].push_back(i);
  }
  return units;
}

// Nothing runs there, nothing is meant for it, and that for so long that it may go.
bool MayGo(const Seen& seen, const Packing& packing, std::size_t index, const PoolLimits& limits, std::int64_t now_ms) {
  if (seen.machine.state == State::kLeaving || packing.used(index)) return false;
  if (Overdue(seen, now_ms)) return true;
  if (!Registered(seen)) return now_ms - seen.since_ms >= limits.idle_ms && seen.machine.state == State::kPending;
  if (seen.used > 0 || !seen.connected) return false;
  return seen.held || now_ms - seen.since_ms >= limits.idle_ms;
}

// Whether the whole unit may go, and the pool is still large enough without it. An overdue machine goes below the minimum too: it is none.
bool UnitMayGo(const std::vector<Seen>& machines, const std::vector<std::size_t>& unit, const Packing& packing, const PoolLimits& limits,
               std::int64_t spare, std::int64_t now_ms) {
  const bool overdue = std::any_of(unit.begin(), unit.end(), [&](std::size_t i) { return Overdue(machines[i], now_ms); });
  if (!overdue && spare < static_cast<std::int64_t>(unit.size())) return false;
  return std::all_of(unit.begin(), unit.end(),
                     [&](std::size_t i) { return Leaving(machines[i]) || MayGo(machines[i], packing, i, limits, now_ms); });
}

// Nothing new can be placed there.
bool Closed(const Seen& seen, std::int64_t now_ms) {
  return seen.held || seen.barred || !Registered(seen) || Leaving(seen) || Overdue(seen, now_ms);
}

// Units beyond the minimum that may go are first held and then, once their workers are known to get nothing new, given back. From the end
// of the list, which is the newest; where only the end can go, up to the first that stays.
void Shrink(const std::vector<Seen>& machines, const Packing& packing, const PoolLimits& limits, bool any, std::int64_t now_ms,
            PoolPlan* plan) {
  std::int64_t spare = -limits.min_machines;
  for (const Seen& seen : machines) spare += Leaving(seen) ? 0 : 1;
  const std::vector<std::vector<std::size_t>> units = UnitsOf(machines);
  bool blocked = false;
  for (auto unit = units.rbegin(); unit != units.rend(); ++unit) {
    if (std::all_of(unit->begin(), unit->end(), [&](std::size_t i) { return Leaving(machines[i]); })) continue;
    if (blocked || !UnitMayGo(machines, *unit, packing, limits, spare, now_ms)) {
      blocked = blocked || !any;
      for (const std::size_t i : *unit) {
        if (machines[i].held && !Leaving(machines[i])) plan->unhold.push_back(i);
      }
      continue;
    }
    spare -= static_cast<std::int64_t>(unit->size());
    const bool closed = std::all_of(unit->begin(), unit->end(), [&](std::size_t i) { return Closed(machines[i], now_ms); });
    for (const std::size_t i : *unit) {
      if (closed) {
        plan->release.push_back(i);
      } else if (!Closed(machines[i], now_ms)) {
        plan->hold.push_back(i);
      }
    }
  }
}

// Puts every waiting run somewhere: on machines that there are, on such as are to be asked for, or to the next pool.
class Growth {
 public:
  Growth(const std::vector<Seen>& machines, const PoolLimits& limits, std::int64_t now_ms)
      : limits_(limits), packing_(machines, limits, now_ms), room_(limits.max_machines - static_cast<std::int64_t>(machines.size())) {
    for (const Seen& seen : machines) alive_ += Leaving(seen) || Overdue(seen, now_ms) ? 0 : 1;
  }

  void Place(const Waiting& waiting, PoolPlan* plan) {
    const std::int64_t needs = MachinesFor(waiting.shape, limits_);
    if (needs == 0 || needs > limits_.max_machines) {
      plan->left.push_back(waiting);
      return;
    }
    const std::int64_t before = packing_.added();
    if (packing_.Place(waiting.shape, limits_.gang_shaped ? 0 : room_)) {
      room_ -= packing_.added() - before;
      if (packing_.added() > before) asked_.Add(waiting.run);
    } else if (limits_.gang_shaped && needs <= room_) {
      room_ -= needs;
      asked_.Add(waiting.run);
      plan->grow.push_back({needs, GangRequest{waiting.run, waiting.shape.machines, waiting.shape.ranks}});
    } else {
      full_.Add(waiting.run);
      plan->left.push_back(waiting);
    }
  }

  void Finish(const Asking& asking, std::int64_t now_ms, PoolPlan* plan) {
    if (!limits_.gang_shaped) {
      const std::int64_t below = std::max<std::int64_t>(0, limits_.min_machines - alive_ - packing_.added());
      const std::int64_t machines = packing_.added() + std::min(below, std::max<std::int64_t>(0, room_));
      if (machines > 0) plan->grow.push_back({machines, std::nullopt});
    }
    std::int64_t total = 0;
    for (const Order& order : plan->grow) total += order.machines;
    if (total > 0 && now_ms < asking.not_before_ms) {
      plan->doing = StrCat("asks again for ", Machines(total), asked_.Text(), " in ", (asking.not_before_ms - now_ms + 999) / 1000, " s");
      plan->grow.clear();
    } else if (total > 0) {
      plan->doing = StrCat("asks for ", Machines(total), asked_.Text());
    } else if (full_.runs > 0) {
      plan->doing = StrCat("is as large as it may be, with no room", full_.Text());
    }
  }

  const Packing& packing() const { return packing_; }

 private:
  const PoolLimits& limits_;
  Packing packing_;
  std::int64_t room_;
  std::int64_t alive_ = 0;
  Demand asked_;
  Demand full_;
};

std::string DoingNothingNew(const std::vector<Seen>& machines, const PoolPlan& plan) {
  if (!plan.release.empty()) return StrCat("gives back ", Machines(static_cast<std::int64_t>(plan.release.size())));
  if (!plan.hold.empty()) return StrCat("empties ", Machines(static_cast<std::int64_t>(plan.hold.size())), " that nobody needs");
  std::int64_t coming = 0;
  for (const Seen& seen : machines) coming += Leaving(seen) || Registered(seen) ? 0 : 1;
  return coming > 0 ? StrCat("waits for ", Machines(coming)) : "has what is needed";
}

}  // namespace

bool operator==(const Order& a, const Order& b) {
  const auto same = [](const GangRequest& x, const GangRequest& y) { return x.run == y.run && x.machines == y.machines && x.ranks == y.ranks; };
  return a.machines == b.machines && a.gang.has_value() == b.gang.has_value() && (!a.gang.has_value() || same(*a.gang, *b.gang));
}

std::int64_t PauseAfter(std::int64_t failures) {
  if (failures <= 0) return 0;
  return std::min(kLongestPauseMs, kFirstPauseMs << std::min<std::int64_t>(failures - 1, 20));
}

PoolPlan PlanPool(const std::vector<Waiting>& waiting, const std::vector<Seen>& machines, const PoolLimits& limits, bool any,
                  const Asking& asking, std::int64_t now_ms) {
  PoolPlan plan;
  Growth growth(machines, limits, now_ms);
  for (const Waiting& run : waiting) growth.Place(run, &plan);
  growth.Finish(asking, now_ms, &plan);
  Shrink(machines, growth.packing(), limits, any, now_ms, &plan);
  if (plan.doing.empty()) plan.doing = DoingNothingNew(machines, plan);
  return plan;
}

}  // namespace entrain::pool
