#include "coordinator/pool/board.h"

#include <algorithm>

#include "absl/strings/str_join.h"
#include "base/strings.h"

namespace entrain::pool {

std::int64_t CountIn(const PoolStatus& status, PoolMachine::State state) {
  return std::count_if(status.machines.begin(), status.machines.end(), [&](const PoolMachine& machine) { return machine.state == state; });
}

std::vector<std::string> PendingReasons(const PoolStatus& status) {
  std::vector<std::string> reasons;
  for (const PoolMachine& machine : status.machines) {
    if (machine.state != PoolMachine::State::kPending || machine.detail.empty()) continue;
    if (std::find(reasons.begin(), reasons.end(), machine.detail) == reasons.end()) reasons.push_back(machine.detail);
  }
  return reasons;
}

scheduler::Elastic ElasticOf(const PoolLimits& limits) { return {limits.name, limits.shape.slots, limits.MachinesOfAGang()}; }

std::string Sentence(const PoolStatus& status) {
  const PoolLimits& limits = status.limits;
  if (!status.listed) return StrCat("the pool ", limits.name, ": ", status.engine, " has not answered yet", status.problem.empty() ? "" : ": ", status.problem);
  const std::int64_t more = std::max<std::int64_t>(0, limits.max_machines - static_cast<std::int64_t>(status.machines.size()));
  std::string text = StrCat("the pool ", limits.name, " may still add ", more, more == 1 ? " machine of " : " machines of ", limits.shape.slots,
                            limits.shape.slots == 1 ? " slot" : " slots");
  if (const std::int64_t pending = CountIn(status, PoolMachine::State::kPending); pending > 0) {
    const std::vector<std::string> reasons = PendingReasons(status);
    StrAppend(&text, "; ", pending, pending == 1 ? " is pending" : " are pending", reasons.empty() ? "" : StrCat(" (", absl::StrJoin(reasons, ", "), ")"));
  }
  if (!status.doing.empty()) StrAppend(&text, "; it ", status.doing);
  if (!status.problem.empty()) StrAppend(&text, "; ", status.engine, ": ", status.problem);
  return text;
}

}  // namespace entrain::pool
