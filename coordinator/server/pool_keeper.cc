#include "coordinator/server/pool_keeper.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/strings.h"
#include "coordinator/server/pool_view.h"

namespace entrain::server {

using pool::PoolMachine;
using pool::Seen;

PoolKeeper::PoolKeeper(std::vector<std::unique_ptr<pool::PoolProvider>> pools, const samples::PublishedState* published,
                       std::function<void(domain::ActOnWorker)> post, const Clock* clock, pool::PoolBoard* board,
                       metrics::CoordinatorMetrics* metrics)
    : published_(published), post_(std::move(post)), clock_(clock), board_(board), metrics_(metrics), poll_ms_(pool::PoolLimits().poll_ms) {
  for (std::unique_ptr<pool::PoolProvider>& provider : pools) {
    Pool pool;
    pool.status.limits = provider->limits();
    pool.status.engine = provider->engine();
    poll_ms_ = pools_.empty() ? provider->limits().poll_ms : std::min(poll_ms_, provider->limits().poll_ms);
    if (metrics_ != nullptr) metrics_->CountPoolFailures(provider->limits().name, 0);
    pool.provider = std::move(provider);
    pools_.push_back(std::move(pool));
  }
  Publish();
}

PoolKeeper::~PoolKeeper() {
  ending_ = true;
  if (thread_.joinable()) thread_.join();
}

void PoolKeeper::Start() {
  thread_ = std::thread([this] {
    while (!ending_) {
      Round();
      published_->Pause(poll_ms_);
      // Closed: the process ends, and whoever closed it joins this thread soon.
      if (published_->closed()) return;
    }
  });
}

void PoolKeeper::Round() {
  std::vector<pool::Waiting> waiting = WaitingRuns(*published_->Get());
  for (Pool& pool : pools_) Look(&pool, &waiting);
  Publish();
}

void PoolKeeper::Look(Pool* pool, std::vector<pool::Waiting>* waiting) {
  absl::StatusOr<std::vector<PoolMachine>> machines = pool->provider->List();
  if (!machines.ok()) {
    Fail(pool, Source::kList, std::string(machines.status().message()), false);
    return;
  }
  Recover(pool, Source::kList);
  NoteEnded(pool, *machines);
  pool->status.listed = true;
  pool->status.machines = *std::move(machines);
  // Newer than the list: a machine whose worker came meanwhile is one that is there.
  const samples::PublishedState::View state = published_->Get();
  const std::vector<Seen> seen = See(pool, *state);
  TakeOff(*pool, *state);
  pool::PoolPlan plan =
      pool::PlanPool(*waiting, seen, pool->provider->limits(), pool->provider->CanReleaseAny(), pool->asking, clock_->BootMs());
  CarryOut(pool, seen, plan);
  *waiting = std::move(plan.left);
}

std::vector<Seen> PoolKeeper::See(Pool* pool, const core::State& state) {
  const std::map<std::string, const core::Worker*> workers = WorkersByName(state);
  std::vector<Seen> all;
  for (const PoolMachine& machine : pool->status.machines) {
    Seen seen{.machine = machine};
    if (const auto found = workers.find(machine.worker_name); found != workers.end()) {
      const core::Worker& worker = *found->second;
      seen.worker = worker.info.id;
      seen.slots = worker.info.slots;
      seen.used = worker.SlotsUsed();
      seen.connected = worker.connected;
      seen.draining = worker.draining;
      seen.held = IsHeld(worker, pool->status.limits.name);
      seen.barred = worker.quarantined && !seen.held;
    }
    const Known::Phase phase = seen.worker.empty()  ? Known::Phase::kNoWorker
                               : !seen.connected ? Known::Phase::kAway
                               : seen.used > 0   ? Known::Phase::kBusy
                                                 : Known::Phase::kIdle;
    const auto [at, is_new] = pool->known.try_emplace(machine.id, Known{.phase = phase, .since_ms = clock_->BootMs()});
    if (at->second.phase != phase) at->second = {phase, clock_->BootMs(), at->second.registered, at->second.released};
    if (!seen.worker.empty() && !at->second.registered) {
      at->second.registered = true;
      if (!is_new) pool->asking = {};
      Recover(pool, Source::kMachine);
    }
    seen.since_ms = at->second.since_ms;
    all.push_back(std::move(seen));
  }
  return all;
}

void PoolKeeper::NoteEnded(Pool* pool, const std::vector<PoolMachine>& machines) {
  std::set<std::string> there;
  for (const PoolMachine& machine : machines) there.insert(machine.id);
  std::vector<std::string> failed;
  for (auto at = pool->known.begin(); at != pool->known.end();) {
    if (there.contains(at->first)) {
      ++at;
      continue;
    }
    if (!at->second.registered && !at->second.released) failed.push_back(at->first);
    at = pool->known.erase(at);
  }
  if (failed.empty()) return;
  const std::string more = failed.size() == 1 ? "" : StrCat(" and ", failed.size() - 1, " more");
  Fail(pool, Source::kMachine, StrCat("machine ", failed.front(), more, " ended before its worker registered; its log says why"), true);
}

void PoolKeeper::TakeOff(const Pool& pool, const core::State& state) {
  std::set<std::string> names;
  for (const PoolMachine& machine : pool.status.machines) names.insert(machine.worker_name);
  for (const auto& [id, worker] : state.workers) {
    if (worker->connected || names.contains(worker->info.name) || !pool.provider->Owns(worker->info.name)) continue;
    post_({.worker = id, .action = domain::WorkerAction::kGone, .by = KeeperOf(pool.status.limits.name)});
  }
}

void PoolKeeper::CarryOut(Pool* pool, const std::vector<Seen>& seen, const pool::PoolPlan& plan) {
  if (plan.doing != pool->status.doing) Log(LogLevel::kInfo, "pool", {{"name", pool->status.limits.name}, {"it", plan.doing}});
  pool->status.doing = plan.doing;
  for (const std::size_t i : plan.unhold) Act(*pool, seen[i], domain::WorkerAction::kRelease);
  for (const std::size_t i : plan.hold) Act(*pool, seen[i], domain::WorkerAction::kQuarantine);
  std::vector<PoolMachine> released;
  for (const std::size_t i : plan.release) released.push_back(seen[i].machine);
  if (!released.empty()) {
    const absl::Status status = pool->provider->Release(released);
    if (!status.ok()) return Fail(pool, Source::kGrow, std::string(status.message()), false);
    for (const std::size_t i : plan.release) {
      Known& known = pool->known[seen[i].machine.id];
      const bool overdue = seen[i].machine.state == PoolMachine::State::kUp && !known.registered;
      known.released = true;
      if (overdue) Fail(pool, Source::kMachine, StrCat("machine ", seen[i].machine.id, " was up, and its worker did not register; its log says why"), true);
    }
  }
  for (const pool::Order& order : plan.grow) {
    const absl::Status status = pool->provider->Grow(order.machines, order.gang.has_value() ? &*order.gang : nullptr);
    if (!status.ok()) return Fail(pool, Source::kGrow, std::string(status.message()), true);
  }
  if (!plan.grow.empty() || !released.empty()) Recover(pool, Source::kGrow);
}

void PoolKeeper::Act(const Pool& pool, const Seen& seen, domain::WorkerAction action) {
  post_({.worker = seen.worker, .action = action, .by = KeeperOf(pool.status.limits.name), .reason = kHoldReason});
}

void PoolKeeper::Fail(Pool* pool, Source source, const std::string& problem, bool backs_off) {
  const std::string& name = pool->status.limits.name;
  if (problem != pool->status.problem) Log(LogLevel::kWarning, "pool", {{"name", name}, {"engine", pool->status.engine}, {"problem", problem}});
  pool->status.problem = problem;
  pool->problem_source = source;
  if (backs_off) pool->asking.not_before_ms = clock_->BootMs() + pool::PauseAfter(++pool->asking.failures);
  if (metrics_ != nullptr) metrics_->CountPoolFailures(name, 1);
}

void PoolKeeper::Recover(Pool* pool, Source source) {
  if (pool->problem_source != source) return;
  pool->problem_source = Source::kNone;
  pool->status.problem.clear();
}

void PoolKeeper::Publish() {
  std::vector<pool::PoolStatus> all;
  for (const Pool& pool : pools_) {
    all.push_back(pool.status);
    if (metrics_ == nullptr) continue;
    const std::string& name = pool.status.limits.name;
    metrics_->SetPoolMachines(name, "pending", CountIn(pool.status, PoolMachine::State::kPending));
    metrics_->SetPoolMachines(name, "up", CountIn(pool.status, PoolMachine::State::kUp));
    metrics_->SetPoolMachines(name, "leaving", CountIn(pool.status, PoolMachine::State::kLeaving));
    metrics_->SetPoolMachines(name, "max", pool.status.limits.max_machines);
  }
  board_->Publish(std::move(all));
}

}  // namespace entrain::server
