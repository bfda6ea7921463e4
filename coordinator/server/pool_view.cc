#include "coordinator/server/pool_view.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "base/strings.h"

namespace entrain::server {
namespace {

constexpr std::int64_t kMaxWaitingOfAClass = 5'000;

}  // namespace

std::vector<pool::Waiting> WaitingRuns(const core::State& state) {
  const scheduler::Queue& queue = state.index.queue;
  std::vector<std::pair<scheduler::Turn, pool::Waiting>> turns;
  for (const auto& [queue_class, line] : queue.classes()) {
    std::int64_t left = kMaxWaitingOfAClass;
    if (const SweepId& capped = queue_class.capped_sweep; !capped.empty()) left = std::min(left, queue.Cap(capped) - queue.Active(capped));
    for (const auto& [rank, request] : line) {
      if (left-- <= 0) break;
      turns.push_back({queue.TurnOf(queue_class.owner, rank), {request->run, request->shape}});
    }
  }
  std::stable_sort(turns.begin(), turns.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<pool::Waiting> waiting;
  waiting.reserve(turns.size());
  for (auto& [turn, run] : turns) waiting.push_back(std::move(run));
  return waiting;
}

std::map<std::string, const core::Worker*> WorkersByName(const core::State& state) {
  std::map<std::string, const core::Worker*> workers;
  for (const auto& [id, worker] : state.workers) {
    const core::Worker*& known = workers[worker->info.name];
    const auto rank = [](const core::Worker& w) { return std::pair(w.connected, w.registered_wall_ms); };
    if (known == nullptr || rank(*known) < rank(*worker)) known = &*worker;
  }
  return workers;
}

std::string KeeperOf(const std::string& pool) { return StrCat("pool ", pool); }

bool IsHeld(const core::Worker& worker, const std::string& pool) {
  return worker.quarantined && worker.quarantine_reason == StrCat("by ", KeeperOf(pool), ": ", kHoldReason);
}

}  // namespace entrain::server
