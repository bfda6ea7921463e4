#include "bench/coordinator/fleet_model.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/strings.h"

namespace entrain::bench {
namespace {

constexpr std::int64_t kRunsASweep = 100;

domain::RunSpec SpecOf(const std::string& cell, const scheduler::Shape& shape) {
  domain::RunSpec spec;
  spec.cell = CellId(cell);
  spec.label = cell;
  spec.variant = "bench";
  spec.config_json = "{}";
  spec.resources.machines = shape.machines;
  spec.resources.ranks_per_machine = shape.ranks;
  spec.steps = 1000;
  spec.n_layer = 12;
  spec.n_head = 12;
  spec.context = 128;
  return spec;
}

}  // namespace

FleetModel::FleetModel(const FleetSizes& sizes, const core::CoreConfig& config, std::uint64_t seed,
                       std::vector<domain::Fact>* facts)
    : sizes_(sizes), rng_(seed, 21), state_(config), kept_(facts) {
  Emit(domain::TermStarted{});
  for (std::int64_t i = 0; i < sizes_.workers; ++i) {
    const WorkerId id(StrCat("worker-", 100'000 + i));
    Emit(domain::WorkerRegistered{{.id = id, .name = StrCat("host", i), .version = "bench", .slot_kind = domain::SlotKind::kGpu,
                                   .slots = sizes_.slots, .device = "gpu", .peer_address = StrCat("host", i, ":7071")}, 1});
    Emit(domain::WorkerHeard{id, true});
  }
  Occupy();
}

template <typename Body>
void FleetModel::Emit(Body body) {
  domain::Fact fact{now_ms_, now_ms_, std::move(body)};
  core::Apply(&state_, fact);
  if (kept_ != nullptr && !domain::IsTransient(fact)) kept_->push_back(std::move(fact));
}

void FleetModel::Apply(const std::vector<domain::Fact>& facts) {
  for (const domain::Fact& fact : facts) {
    core::Apply(&state_, fact);
    if (kept_ != nullptr && !domain::IsTransient(fact)) kept_->push_back(fact);
    if (const auto* placed = std::get_if<domain::RunPlaced>(&fact.body)) {
      Emit(domain::RunStarted{placed->key});
      running_.push_back(placed->key);
    }
  }
}

void FleetModel::AddSweep(const std::vector<scheduler::Shape>& shapes, std::int64_t priority, std::int64_t cap) {
  domain::SweepAdmitted admitted;
  admitted.sweep = SweepId(StrCat("s", ++sweeps_));
  admitted.idempotency_key = StrCat("key", sweeps_);
  admitted.spec.name = "bench";
  admitted.spec.owner = StrCat("owner", sweeps_ % sizes_.owners);
  admitted.spec.priority = priority;
  admitted.spec.max_concurrent_runs = cap;
  for (std::size_t i = 0; i < shapes.size(); ++i) admitted.spec.runs.push_back(SpecOf(StrCat(sweeps_, ".", i), shapes[i]));
  Emit(std::move(admitted));
}

// Every machine is filled with gangs of one machine; then random small ones end until the wanted share is free: holes of one to three.
void FleetModel::Occupy() {
  constexpr std::int64_t kRanks[] = {1, 1, 1, 1, 2, 2, 3, 4, 4, 8};
  std::vector<std::pair<WorkerId, std::vector<std::int64_t>>> plan;
  std::vector<scheduler::Shape> shapes;
  for (std::int64_t i = 0; i < sizes_.workers; ++i) {
    std::vector<std::int64_t> gangs;
    for (std::int64_t left = sizes_.slots; left > 0;) {
      const std::int64_t ranks = std::min(left, kRanks[rng_.Below(std::size(kRanks))]);
      gangs.push_back(ranks);
      shapes.push_back({1, ranks});
      left -= ranks;
    }
    plan.emplace_back(WorkerId(StrCat("worker-", 100'000 + i)), std::move(gangs));
  }
  std::vector<RunId> runs;
  for (std::size_t begin = 0; begin < shapes.size(); begin += kRunsASweep) {
    const std::size_t end = std::min(shapes.size(), begin + kRunsASweep);
    AddSweep({shapes.begin() + static_cast<std::ptrdiff_t>(begin), shapes.begin() + static_cast<std::ptrdiff_t>(end)}, 0, 0);
    const auto& admitted = *state_.FindSweep(SweepId(StrCat("s", sweeps_)))->runs;
    runs.insert(runs.end(), admitted.begin(), admitted.end());
  }
  std::size_t run = 0;
  for (const auto& [worker, gangs] : plan) {
    std::int32_t slot = 0;
    for (const std::int64_t ranks : gangs) {
      std::vector<std::int32_t> slots;
      for (std::int64_t i = 0; i < ranks; ++i) slots.push_back(slot++);
      const domain::AttemptKey key{runs[run++], 1};
      Emit(domain::RunPlaced{key, {{{worker, std::move(slots)}}}, {}});
      Emit(domain::RunStarted{key});
      running_.push_back(key);
    }
  }
  for (std::size_t i = running_.size(); i > 1; --i) std::swap(running_[i - 1], running_[rng_.Below(i)]);
  const auto wanted = static_cast<std::int64_t>((1.0 - sizes_.occupied) * static_cast<double>(sizes_.workers * sizes_.slots));
  std::vector<domain::AttemptKey> kept;
  for (const domain::AttemptKey& key : running_) {
    if (state_.index.fleet.free_slots() >= wanted || state_.FindAttempt(key)->gang.members.front().slots.size() > 2) {
      kept.push_back(key);
      continue;
    }
    domain::AttemptEnd end;
    end.cause = domain::EndCause::kStopped;
    Emit(domain::AttemptClosed{key, end});
    domain::RunFinished finished;
    finished.run = key.run;
    finished.state = domain::RunState::kCancelled;
    Emit(std::move(finished));
  }
  running_ = std::move(kept);
}

scheduler::Shape FleetModel::SomeShape() {
  // Four in five fit into the holes as they are: groups of one or two, up to 64 of them. A fifth needs a machine that is empty, or more.
  constexpr scheduler::Shape kFitting[] = {{1, 1}, {1, 1}, {1, 1}, {1, 1}, {1, 2}, {1, 2}, {2, 1}, {4, 1}, {8, 1}, {16, 1}, {32, 1}, {64, 1}, {4, 2}, {8, 2}, {32, 2}};
  constexpr scheduler::Shape kLarge[] = {{1, 8}, {2, 8}, {4, 8}, {8, 8}};
  if (rng_.Below(5) == 0) return kLarge[rng_.Below(std::size(kLarge))];
  return kFitting[rng_.Below(std::size(kFitting))];
}

void FleetModel::Queue(std::int64_t runs) {
  while (runs > 0) {
    std::vector<scheduler::Shape> shapes;
    for (; runs > 0 && static_cast<std::int64_t>(shapes.size()) < kRunsASweep; --runs) shapes.push_back(SomeShape());
    AddSweep(shapes, static_cast<std::int64_t>(rng_.Below(2)), 0);
  }
}

void FleetModel::QueueOne(const scheduler::Shape& shape) { AddSweep({shape}, static_cast<std::int64_t>(rng_.Below(2)), 0); }

domain::AttemptEnded FleetModel::NextEnd() {
  ENTRAIN_CHECK(!running_.empty());
  const std::size_t at = rng_.Below(running_.size());
  std::swap(running_[at], running_.back());
  const domain::AttemptKey key = running_.back();
  running_.pop_back();
  domain::AttemptEnd end;
  end.cause = domain::EndCause::kStopped;
  return {state_.FindAttempt(key)->gang.members.front().worker, ++reports_, key, end};
}

}  // namespace entrain::bench
