#include "base/check.h"
#include "coordinator/scheduler/index.h"

namespace entrain::scheduler {

Shape ShapeOf(const domain::Resources& resources) {
  return Shape{.machines = resources.machines, .ranks = resources.ranks_per_machine};
}

const Machine* Fleet::Find(const WorkerId& worker) const {
  const std::shared_ptr<const Machine>* found = machines_.Find(worker);
  return found == nullptr ? nullptr : found->get();
}

void Fleet::Put(const WorkerId& worker, const Machine& machine) {
  ENTRAIN_CHECK(static_cast<std::int32_t>(machine.busy.size()) == machine.machine_class.slots);
  if (const Machine* old = Find(worker)) Count(worker, *old, -1);
  machines_.Set(worker, std::make_shared<const Machine>(machine));
  Count(worker, machine, +1);
}

void Fleet::SetBusy(const WorkerId& worker, const std::vector<std::int32_t>& slots, bool busy) {
  const Machine* old = Find(worker);
  ENTRAIN_CHECK(old != nullptr);
  Machine machine = *old;
  for (const std::int32_t slot : slots) {
    const auto at = static_cast<std::size_t>(slot);
    // A machine that came back with fewer slots.
    if (slot < 0 || at >= machine.busy.size() || machine.busy[at] == busy) continue;
    machine.busy[at] = busy;
    machine.free += busy ? -1 : 1;
  }
  Put(worker, machine);
}

void Fleet::Count(const WorkerId& worker, const Machine& machine, int sign) {
  const std::shared_ptr<const ClassFleet>* found = classes_.Find(machine.machine_class);
  ClassFleet fleet = found == nullptr ? ClassFleet{} : **found;
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
  if (fleet.known == 0) {
    classes_.Erase(machine.machine_class);
  } else {
    classes_.Set(machine.machine_class, std::make_shared<const ClassFleet>(std::move(fleet)));
  }
}

}  // namespace entrain::scheduler
