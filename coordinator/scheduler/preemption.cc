#include "coordinator/scheduler/preemption.h"

#include <algorithm>
#include <compare>
#include <limits>
#include <set>
#include <tuple>
#include <utility>

namespace entrain::scheduler {
namespace {

struct Cost {
  std::int64_t highest_priority = std::numeric_limits<std::int64_t>::min();  // stopping nobody is best
  std::int64_t victims = 0;
  std::int64_t ran_ms = 0;
  friend auto operator<=>(const Cost&, const Cost&) = default;
};

// The first victims of a machine, in order, that together make room for some groups.
struct Choice {
  const Occupied* machine = nullptr;
  std::int64_t groups = 0;
  std::size_t victims = 0;
  Cost cost;
};

// The cheapest way to `groups` groups on this machine; as many as it can give when it cannot give so many.
Choice ChooseOn(const Occupied& machine, std::int64_t groups, const Shape& shape) {
  Choice choice{&machine, (machine.free + machine.ending) / shape.ranks, 0, {}};
  std::int64_t slots = machine.free + machine.ending;
  for (const Victim& victim : machine.victims) {
    if (choice.groups >= groups) break;
    slots += victim.slots_here;
    choice.groups = slots / shape.ranks;
    ++choice.victims;
    // Victims come lowest priority first.
    choice.cost = {victim.priority, choice.cost.victims + 1, choice.cost.ran_ms + victim.ran_ms};
  }
  return choice;
}

Preemption MakePreemption(const std::vector<Choice>& choices) {
  Preemption preemption;
  std::set<RunId> seen;
  for (const Choice& choice : choices) {
    preemption.machines.push_back(choice.machine->worker);
    for (std::size_t i = 0; i < choice.victims; ++i) {
      const RunId& run = choice.machine->victims[i].run;
      if (seen.insert(run).second) preemption.victims.push_back(run);
    }
  }
  return preemption;
}

// Machines that give most groups first, each asked for no more than what is missing.
std::optional<Preemption> ChooseSeveral(const std::vector<Occupied>& machines, const Pool& pool, const Shape& shape) {
  std::vector<Choice> all;
  for (const Occupied& machine : machines) {
    if (machine.pool == pool && machine.has_peers) all.push_back(ChooseOn(machine, shape.machines, shape));
  }
  std::sort(all.begin(), all.end(), [](const Choice& a, const Choice& b) {
    return std::tie(b.groups, a.cost, a.machine->worker) < std::tie(a.groups, b.cost, b.machine->worker);
  });
  std::vector<Choice> chosen;
  std::int64_t missing = shape.machines;
  for (const Choice& choice : all) {
    if (missing <= 0 || choice.groups == 0) break;
    chosen.push_back(ChooseOn(*choice.machine, missing, shape));
    missing -= chosen.back().groups;
  }
  if (missing > 0) return std::nullopt;
  return MakePreemption(chosen);
}

}  // namespace

std::optional<Preemption> ChoosePreemption(std::vector<Occupied> machines, const Shape& shape) {
  std::optional<Choice> best;
  std::set<Pool> pools;
  for (Occupied& machine : machines) {
    std::sort(machine.victims.begin(), machine.victims.end(), [](const Victim& a, const Victim& b) {
      return std::tie(a.priority, a.ran_ms, a.run) < std::tie(b.priority, b.ran_ms, b.run);
    });
    pools.insert(machine.pool);
    const Choice choice = ChooseOn(machine, shape.machines, shape);
    if (choice.groups < shape.machines) continue;
    if (!best || std::tie(choice.cost, machine.worker) < std::tie(best->cost, best->machine->worker)) best = choice;
  }
  if (best) return MakePreemption({*best});
  for (const Pool& pool : pools) {
    if (std::optional<Preemption> several = ChooseSeveral(machines, pool, shape)) return several;
  }
  return std::nullopt;
}

}  // namespace entrain::scheduler
