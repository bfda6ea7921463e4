#include "coordinator/scheduler/placement.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "base/strings.h"

namespace entrain::scheduler {

const std::array<Filter, 7> kFilters = {{
    {"reports", [](const Machine& machine, const Shape&) { return !machine.silent; }},
    {"not_draining", [](const Machine& machine, const Shape&) { return !machine.draining; }},
    {"connected", [](const Machine& machine, const Shape&) { return machine.connected; }},
    {"not_quarantined", [](const Machine& machine, const Shape&) { return !machine.quarantined; }},
    {"large_enough", [](const Machine& machine, const Shape& shape) { return machine.machine_class.slots >= shape.ranks; }},
    {"free_enough", [](const Machine& machine, const Shape& shape) { return machine.free >= shape.ranks; }},
    // One that other workers do not reach holds the whole gang or nothing of it.
    {"reaches_peers",
     [](const Machine& machine, const Shape& shape) { return machine.machine_class.has_peers || machine.free / shape.ranks >= shape.machines; }},
}};

const std::array<Scorer, 5> kScorers = {{
    // The run's checkpoint was written on another device: resuming need not be bit-identical.
    {"same_device", [](const Score& score) -> std::int64_t { return score.other_device; }},
    // One machine, then fewest.
    {"fewest_machines", [](const Score& score) { return score.machines; }},
    // The tightest fit keeps large holes for large gangs.
    {"tightest_fit", [](const Score& score) { return score.left_free; }},
    {"smallest_machine", [](const Score& score) -> std::int64_t { return score.machine_slots; }},
    // What can share a gang is left to gangs that must.
    {"keeps_peers", [](const Score& score) -> std::int64_t { return score.has_peers; }},
}};

bool Better(const Score& a, const Score& b) {
  for (const Scorer& scorer : kScorers) {
    if (scorer.value(a) != scorer.value(b)) return scorer.value(a) < scorer.value(b);
  }
  return a.last < b.last;
}

bool PassesFilters(const Machine& machine, const Shape& shape) {
  return std::all_of(kFilters.begin(), kFilters.end(),
                     [&](const Filter& filter) { return filter.passes(machine, shape); });
}

void KeptMachines::Add(const Fleet& fleet, const std::vector<WorkerId>& workers) {
  for (const WorkerId& worker : workers) {
    const Machine* machine = fleet.Find(worker);
    if (machine == nullptr || Contains(worker)) continue;
    kept_.push_back({worker, machine->machine_class, machine->free, machine->Usable()});
    if (machine->Usable()) free_slots_ += machine->free;
  }
}

bool KeptMachines::Contains(const WorkerId& worker) const {
  return std::any_of(kept_.begin(), kept_.end(), [&](const Kept& kept) { return kept.worker == worker; });
}

std::int64_t KeptMachines::CountIn(const MachineClass& machine_class, std::int32_t free) const {
  return std::count_if(kept_.begin(), kept_.end(),
                       [&](const Kept& kept) { return kept.usable && kept.free == free && kept.machine_class == machine_class; });
}

namespace {

// Machines of one class with the same number of free slots.
struct Bucket {
  const MachineClass* machine_class;
  std::int32_t free;
  const PersistentSet<WorkerId>* workers;
  std::int64_t count;  // but for those that are kept
};

// Of one pool, fullest first (fewest free slots, then small machines, then those without peers).
struct PoolBuckets {
  const Pool* pool = nullptr;
  std::vector<Bucket> buckets;
};

std::vector<PoolBuckets> BucketsByPool(const Fleet& fleet, std::int64_t at_least_free, const KeptMachines& kept) {
  std::vector<PoolBuckets> pools;
  for (const auto& [machine_class, class_fleet] : fleet.classes()) {
    // Classes are ordered by pool.
    if (pools.empty() || *pools.back().pool != machine_class.pool) pools.push_back({.pool = &machine_class.pool, .buckets = {}});
    pools.back().buckets.reserve(class_fleet->usable_by_free.size());
    for (std::int64_t free = at_least_free; free <= machine_class.slots; ++free) {
      const PersistentSet<WorkerId>& workers = class_fleet->usable_by_free[static_cast<std::size_t>(free)];
      const auto narrow = static_cast<std::int32_t>(free);
      const std::int64_t count = static_cast<std::int64_t>(workers.size()) - kept.CountIn(machine_class, narrow);
      if (count > 0) pools.back().buckets.push_back({&machine_class, narrow, &workers, count});
    }
  }
  for (PoolBuckets& pool : pools) {
    std::sort(pool.buckets.begin(), pool.buckets.end(), [](const Bucket& a, const Bucket& b) {
      return std::tuple(a.free, a.machine_class->slots, a.machine_class->has_peers) <
             std::tuple(b.free, b.machine_class->slots, b.machine_class->has_peers);
    });
  }
  return pools;
}

// Whether some pool has so many groups free. Most shapes that wait are turned away here.
bool HasRoom(const Fleet& fleet, const Shape& shape) {
  const Pool* pool = nullptr;
  std::int64_t room = 0;
  for (const auto& [machine_class, class_fleet] : fleet.classes()) {
    if (pool == nullptr || *pool != machine_class.pool) room = 0;
    pool = &machine_class.pool;
    for (std::int64_t free = shape.ranks; free <= machine_class.slots; ++free) {
      const auto machines = static_cast<std::int64_t>(class_fleet->usable_by_free[static_cast<std::size_t>(free)].size());
      if (machines > 0) room += free / shape.ranks * machines;
    }
    if (room >= shape.machines) return true;
  }
  return false;
}

struct Part {
  WorkerId worker;
  std::int64_t groups = 0;
};

std::vector<std::int32_t> LowestFreeSlots(const Machine& machine, std::int64_t count) {
  std::vector<std::int32_t> slots;
  for (std::size_t slot = 0; slot < machine.busy.size() && static_cast<std::int64_t>(slots.size()) < count; ++slot) {
    if (!machine.busy[slot]) slots.push_back(static_cast<std::int32_t>(slot));
  }
  ENTRAIN_CHECK(static_cast<std::int64_t>(slots.size()) == count);
  return slots;
}

domain::Gang MakeGang(const Fleet& fleet, const Shape& shape, const std::vector<Part>& parts) {
  domain::Gang gang;
  for (const Part& part : parts) {
    gang.members.push_back({part.worker, LowestFreeSlots(*fleet.Find(part.worker), part.groups * shape.ranks)});
  }
  return gang;
}

// Where no machine holds the gang alone, only those that reach each other hold a part of it.
void KeepThoseThatMayHold(const Shape& shape, PoolBuckets* pool) {
  if (pool->buckets.empty() || pool->buckets.back().free / shape.ranks >= shape.machines) return;
  std::erase_if(pool->buckets, [](const Bucket& bucket) { return !bucket.machine_class->has_peers; });
}

// Whole machines with the most room first, and the rest on the machine it fits most tightly: the fewest machines.
std::optional<ScoredGang> FindInPool(const Fleet& fleet, const PoolBuckets& pool, const Shape& shape, int other_device, const KeptMachines& kept) {
  std::int64_t room = 0;
  for (const Bucket& bucket : pool.buckets) room += bucket.free / shape.ranks * bucket.count;
  if (room < shape.machines) return std::nullopt;

  std::vector<Part> parts;
  const auto passed_over = [&](const WorkerId& worker) {
    return kept.Contains(worker) || std::any_of(parts.begin(), parts.end(), [&](const Part& part) { return part.worker == worker; });
  };
  std::int64_t remaining = shape.machines;
  for (auto bucket = pool.buckets.rbegin(); bucket != pool.buckets.rend(); ++bucket) {
    const std::int64_t groups = bucket->free / shape.ranks;
    auto worker = bucket->workers->begin();
    std::int64_t left = bucket->count;
    for (; left > 0 && remaining > groups; ++worker) {
      if (kept.Contains(worker->first)) continue;
      parts.push_back({worker->first, groups});
      remaining -= groups;
      --left;
    }
    if (left > 0) break;  // one of them holds the rest alone
  }
  for (const Bucket& bucket : pool.buckets) {
    if (bucket.free / shape.ranks < remaining) continue;
    for (const auto& [worker, present] : *bucket.workers) {
      if (passed_over(worker)) continue;
      parts.push_back({worker, remaining});
      const Score score{other_device, static_cast<std::int64_t>(parts.size()), bucket.free - remaining * shape.ranks,
                        bucket.machine_class->slots, bucket.machine_class->has_peers ? 1 : 0, worker};
      return ScoredGang{score, MakeGang(fleet, shape, parts)};
    }
  }
  CheckFailed(__FILE__, __LINE__, "a pool with room for a gang holds it", StrCat(room, " of ", shape.machines));
}

}  // namespace

std::optional<ScoredGang> FindGang(const Fleet& fleet, const Shape& shape, const std::string& preferred_device, const KeptMachines& kept) {
  if (shape.machines < 1 || shape.ranks < 1 || fleet.free_slots() - kept.free_slots() < shape.Slots()) return std::nullopt;
  if (!HasRoom(fleet, shape)) return std::nullopt;
  std::optional<ScoredGang> best;
  for (PoolBuckets& pool : BucketsByPool(fleet, shape.ranks, kept)) {
    KeepThoseThatMayHold(shape, &pool);
    if (pool.buckets.empty()) continue;
    const int other_device = !preferred_device.empty() && pool.pool->device != preferred_device ? 1 : 0;
    std::optional<ScoredGang> gang = FindInPool(fleet, pool, shape, other_device, kept);
    if (gang.has_value() && (!best.has_value() || Better(gang->score, best->score))) best = std::move(gang);
  }
  return best;
}

bool CouldEverFit(const Fleet& fleet, const Shape& shape) {
  const Pool* pool = nullptr;
  std::int64_t groups = 0;
  for (const auto& [machine_class, class_fleet] : fleet.classes()) {
    if (pool == nullptr || *pool != machine_class.pool) groups = 0;
    pool = &machine_class.pool;
    const std::int64_t holds = machine_class.slots / std::max<std::int64_t>(1, shape.ranks);
    if (holds >= shape.machines && class_fleet->known > 0) return true;
    if (machine_class.has_peers) groups += holds * class_fleet->known;
    if (groups >= shape.machines) return true;
  }
  return false;
}

std::vector<WorkerId> MachinesToKeep(const Fleet& fleet, const Shape& shape, const KeptMachines& kept) {
  std::vector<WorkerId> best;
  std::pair<std::int64_t, std::int64_t> best_score;
  for (const PoolBuckets& pool : BucketsByPool(fleet, 0, kept)) {
    std::vector<WorkerId> machines;
    std::int64_t groups = 0;
    std::int64_t free = 0;
    // One machine that could hold the whole gang, else the fewest; most free slots first.
    for (const std::int64_t least_groups : {shape.machines, std::int64_t{1}}) {
      for (auto bucket = pool.buckets.rbegin(); bucket != pool.buckets.rend() && groups < shape.machines; ++bucket) {
        const std::int64_t holds = bucket->machine_class->slots / shape.ranks;
        if (holds < least_groups || (holds < shape.machines && !bucket->machine_class->has_peers)) continue;
        for (const auto& [worker, present] : *bucket->workers) {
          if (groups >= shape.machines) break;
          if (kept.Contains(worker)) continue;
          machines.push_back(worker);
          groups += holds;
          free += bucket->free;
        }
      }
      if (groups >= shape.machines) break;
      machines.clear();
      groups = free = 0;
    }
    if (groups < shape.machines) continue;
    const std::pair score(static_cast<std::int64_t>(machines.size()), -free);
    if (best.empty() || score < best_score) {
      best = std::move(machines);
      best_score = score;
    }
  }
  return best;
}

}  // namespace entrain::scheduler
