#include "base/check.h"
#include "coordinator/scheduler/index.h"

namespace entrain::scheduler {

Shape ShapeOf(const domain::Resources& resources) {
  return Shape{.machines = resources.machines, .ranks = resources.ranks_per_machine};
}

const Elastic* Fleet::ElasticFor(const Shape& shape) const {
  if (elastic_ == nullptr) return nullptr;
  for (const Elastic& elastic : *elastic_) {
    if (elastic.CouldHold(shape)) return &elastic;
  }
  return nullptr;
}

const Machine* Fleet::Find(const WorkerId& worker) const {
  const CopyOnWrite<Machine>* found = machines_.Find(worker);
  return found == nullptr ? nullptr : &**found;
}

void Fleet::Put(const WorkerId& worker, const Machine& machine) {
  ENTRAIN_CHECK(static_cast<std::int32_t>(machine.busy.size()) == machine.machine_class.slots);
  CopyOnWrite<Machine>* known = machines_.Edit(worker);
  if (known == nullptr) {
    machines_.Set(worker, CopyOnWrite<Machine>(machine));
    Count(worker, machine, +1);
    return;
  }
  const Machine& old = **known;
  const bool only_slots = old.Usable() && machine.Usable() && old.machine_class == machine.machine_class;
  if (only_slots) {
    Move(worker, machine.machine_class, old.free, machine.free);
  } else {
    Count(worker, old, -1);
    Count(worker, machine, +1);
  }
  *known = CopyOnWrite<Machine>(machine);
}

void Fleet::Remove(const WorkerId& worker) {
  const Machine* old = Find(worker);
  ENTRAIN_CHECK(old != nullptr);
  Count(worker, *old, -1);
  machines_.Erase(worker);
}

void Fleet::SetBusy(const WorkerId& worker, const std::vector<std::int32_t>& slots, bool busy) {
  CopyOnWrite<Machine>* known = machines_.Edit(worker);
  ENTRAIN_CHECK(known != nullptr);
  Machine* const machine = known->Own();
  const std::int32_t free_before = machine->free;
  for (const std::int32_t slot : slots) {
    const auto at = static_cast<std::size_t>(slot);
    // A machine that came back with fewer slots.
    if (slot < 0 || at >= machine->busy.size() || machine->busy[at] == busy) continue;
    machine->busy[at] = busy;
    machine->free += busy ? -1 : 1;
  }
  if (machine->Usable()) Move(worker, machine->machine_class, free_before, machine->free);
}

void Fleet::Move(const WorkerId& worker, const MachineClass& machine_class, std::int32_t before, std::int32_t after) {
  if (before == after) return;
  ClassFleet* const fleet = classes_.Edit(machine_class)->Own();
  fleet->usable_by_free[static_cast<std::size_t>(before)].Erase(worker);
  fleet->usable_by_free[static_cast<std::size_t>(after)].Set(worker, Present{});
  free_slots_ += after - before;
}

void Fleet::Count(const WorkerId& worker, const Machine& machine, int sign) {
  if (!classes_.Contains(machine.machine_class)) classes_.Set(machine.machine_class, CopyOnWrite<ClassFleet>());
  ClassFleet& fleet = *classes_.Edit(machine.machine_class)->Own();
  fleet.usable_by_free.resize(static_cast<std::size_t>(machine.machine_class.slots) + 1);
  fleet.known += sign;
  if (machine.silent) {
    fleet.silent += sign;
  } else if (machine.draining) {
    fleet.draining += sign;
  } else if (!machine.connected) {
    fleet.not_connected += sign;
  } else if (machine.quarantined) {
    fleet.quarantined += sign;
  }
  if (machine.Usable()) {
    PersistentSet<WorkerId>& bucket = fleet.usable_by_free[static_cast<std::size_t>(machine.free)];
    if (sign > 0) {
      bucket.Set(worker, Present{});
    } else {
      bucket.Erase(worker);
    }
    free_slots_ += sign * machine.free;
  }
  if (fleet.known == 0) classes_.Erase(machine.machine_class);
}

}  // namespace entrain::scheduler
