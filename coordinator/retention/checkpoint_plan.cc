#include "coordinator/retention/checkpoint_plan.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/strings.h"
#include "coordinator/core/retention.h"
#include "coordinator/retention/healthy.h"

namespace entrain::retention {
namespace {

constexpr std::int64_t kMsPerSecondOfAge = 1'000;

bool OlderThan(const FinishedSweep& finished, std::int64_t seconds, std::int64_t now_wall_ms) {
  return seconds > 0 && now_wall_ms - finished.finished_wall_ms >= seconds * kMsPerSecondOfAge;
}

class CheckpointPlanner {
 public:
  CheckpointPlanner(const core::State& state, const Limits& limits, std::int64_t now_wall_ms, const JudgedStep& judged)
      : state_(state), limits_(limits), now_wall_ms_(now_wall_ms), judged_(judged) {}

  CheckpointPlan Plan(std::int64_t used_bytes) {
    if (limits_.keep_newest > 0) {
      for (const auto& [id, run] : state_.runs) BeyondNewest(*run);
    }
    const std::vector<FinishedSweep> finished = FinishedSweeps(state_);
    for (const FinishedSweep& sweep : finished) ByAge(sweep);
    if (limits_.artifact_quota_bytes > 0) ByQuota(finished, used_bytes);
    return std::move(plan_);
  }

 private:
  void BeyondNewest(const core::Run& run) {
    const auto kept = static_cast<std::size_t>(limits_.keep_newest);
    if (run.checkpoints.size() <= kept) return;
    const domain::Checkpoint* healthy = domain::IsFinal(run.state) ? nullptr : NewestHealthy(run, judged_(run.id));
    for (std::size_t i = 0; i + kept < run.checkpoints.size(); ++i) {
      if (&run.checkpoints[i] != healthy) Retire(run, run.checkpoints[i], StrCat("older than the newest ", kept));
    }
  }

  void ByAge(const FinishedSweep& finished) {
    const core::Sweep& sweep = *finished.sweep;
    if (sweep.released_wall_ms == 0 && OlderThan(finished, limits_.release_after_s, now_wall_ms_)) plan_.release.push_back(sweep.id);
    if (OlderThan(finished, limits_.delete_after_s, now_wall_ms_)) {
      RetireAll(sweep, StrCat("its sweep ended more than ", limits_.delete_after_s, " s before"));
    }
  }

  void ByQuota(const std::vector<FinishedSweep>& finished, std::int64_t used_bytes) {
    const auto over = [&] { return used_bytes - plan_.freed_bytes - limits_.artifact_quota_bytes; };
    for (const FinishedSweep& sweep : finished) {
      if (over() <= 0) break;
      RetireAll(*sweep.sweep, StrCat("the artifact root held ", used_bytes, " bytes, its quota is ", limits_.artifact_quota_bytes));
    }
    plan_.over_quota_bytes = std::max<std::int64_t>(0, over());
  }

  void RetireAll(const core::Sweep& sweep, const std::string& why) {
    for (const core::Run* run : RunsOf(state_, sweep)) {
      for (const domain::Checkpoint& checkpoint : run->checkpoints) Retire(*run, checkpoint, why);
    }
  }

  void Retire(const core::Run& run, const domain::Checkpoint& checkpoint, const std::string& why) {
    if (!core::WhyNeeded(state_, run, checkpoint).empty()) return;
    const domain::CheckpointRef ref{checkpoint.attempt, checkpoint.step};
    if (!planned_.insert({run.id, ref}).second) return;
    plan_.freed_bytes += checkpoint.bytes;
    const bool joins = !plan_.retire.empty() && plan_.retire.back().run == run.id && plan_.retire.back().reason == why;
    if (!joins) plan_.retire.push_back({run.id, {}, why});
    plan_.retire.back().checkpoints.push_back(ref);
  }

  const core::State& state_;
  const Limits& limits_;
  const std::int64_t now_wall_ms_;
  const JudgedStep& judged_;
  CheckpointPlan plan_;
  std::set<std::pair<RunId, domain::CheckpointRef>> planned_;
};

}  // namespace

std::vector<const core::Run*> RunsOf(const core::State& state, const core::Sweep& sweep) {
  std::vector<const core::Run*> runs;
  for (const RunId& id : *sweep.runs) {
    for (const core::Run* run = state.FindRun(id); run != nullptr; run = state.FindRun(run->previous)) runs.push_back(run);
  }
  return runs;
}

std::vector<FinishedSweep> FinishedSweeps(const core::State& state) {
  std::vector<FinishedSweep> finished;
  for (const auto& [id, sweep] : state.sweeps) {
    if (sweep->unfinished_runs != 0) continue;
    FinishedSweep& added = finished.emplace_back();
    added.sweep = &*sweep;
    for (const core::Run* run : RunsOf(state, *sweep)) added.finished_wall_ms = std::max(added.finished_wall_ms, run->finished_wall_ms);
  }
  std::sort(finished.begin(), finished.end(), [](const FinishedSweep& a, const FinishedSweep& b) {
    return std::pair(a.finished_wall_ms, a.sweep->number) < std::pair(b.finished_wall_ms, b.sweep->number);
  });
  return finished;
}

CheckpointPlan PlanCheckpoints(const core::State& state, const Limits& limits, std::int64_t now_wall_ms, std::int64_t used_bytes,
                               std::int64_t leaving_bytes, const JudgedStep& judged) {
  return CheckpointPlanner(state, limits, now_wall_ms, judged).Plan(used_bytes - leaving_bytes);
}

}  // namespace entrain::retention
