#include "coordinator/retention/stored_plan.h"

#include <algorithm>
#include <set>

#include "base/strings.h"
#include "coordinator/retention/checkpoint_plan.h"

namespace entrain::retention {
namespace {

// A run with a little more than is kept is left alone: thinning it again would gain nothing.
constexpr double kWorthIt = 1.5;
// A log over its bound is cut to so much of it, so that not every pass cuts a few lines.
constexpr double kCutTo = 0.75;
// Even of a run of which only the result stays.
constexpr std::int64_t kFewSamples = 16;

// Steps that the run's verdicts, notices and rungs speak of, its first and the one that counts: what a report quotes.
std::vector<std::int64_t> QuotedSteps(const core::Run& run) {
  std::set<std::int64_t> steps{1, run.result_step};
  const auto add = [&](const domain::Verdict& verdict) {
    steps.insert(verdict.step);
    steps.insert(verdict.steps.begin(), verdict.steps.end());
  };
  if (run.verdict.has_value()) add(*run.verdict);
  for (const domain::Verdict& notice : run.notices) add(notice);
  for (const domain::Rung& rung : run.rungs) steps.insert(rung.step);
  return {steps.begin(), steps.end()};
}

class StoredPlanner {
 public:
  StoredPlanner(const core::State& state, const Limits& limits, std::int64_t now_wall_ms, const std::map<RunId, store::Usage>& usage)
      : state_(state), limits_(limits), now_wall_ms_(now_wall_ms), usage_(usage), finished_(FinishedSweeps(state)) {}

  StoredPlan Plan() {
    ThinByAge();
    if (limits_.sample_quota_bytes > 0) ThinByQuota();
    if (limits_.log_bytes_per_run > 0) TrimEachRun();
    if (limits_.log_quota_bytes > 0) TrimByQuota();
    return std::move(plan_);
  }

 private:
  store::Usage UsageOf(const RunId& run) const {
    const auto found = usage_.find(run);
    return found == usage_.end() ? store::Usage{} : found->second;
  }

  template <typename Visit>
  void ForEachRun(const FinishedSweep& finished, const Visit& visit) {
    for (const core::Run* run : RunsOf(state_, *finished.sweep)) visit(*run);
  }

  void ThinByAge() {
    if (limits_.thin_after_s <= 0) return;
    for (const FinishedSweep& finished : finished_) {
      if (now_wall_ms_ - finished.finished_wall_ms < limits_.thin_after_s * 1'000) continue;
      ForEachRun(finished, [&](const core::Run& run) {
        ThinTo(run, limits_.samples_kept, StrCat("its sweep ended more than ", limits_.thin_after_s, " s before"));
      });
    }
  }

  void ThinByQuota() {
    std::int64_t used = 0;
    for (const auto& [run, usage] : usage_) used += usage.sample_bytes;
    const std::string why = StrCat("the sample store held ", used, " bytes, its quota is ", limits_.sample_quota_bytes);
    const auto over = [&] { return used - thinned_bytes_ - limits_.sample_quota_bytes; };
    for (const std::int64_t kept : {limits_.samples_kept, std::int64_t{0}}) {
      for (const FinishedSweep& finished : finished_) {
        ForEachRun(finished, [&](const core::Run& run) {
          if (over() > 0) ThinTo(run, kept, why);
        });
      }
    }
    plan_.samples_over_bytes = std::max<std::int64_t>(0, over());
  }

  void ThinTo(const core::Run& run, std::int64_t kept, const std::string& why) {
    const store::Usage usage = UsageOf(run.id);
    const std::int64_t left = std::max(kept, kFewSamples);
    if (static_cast<double>(usage.samples) < kWorthIt * static_cast<double>(left)) return;
    // With 0 to be kept no step is a multiple.
    const std::int64_t every = kept == 0 ? run.spec->steps + 1 : (usage.samples + kept - 1) / kept;
    const std::int64_t freed = usage.sample_bytes - usage.sample_bytes * left / usage.samples;
    const auto planned = std::find_if(plan_.thin.begin(), plan_.thin.end(), [&](const StoredPlan::Thin& thin) { return thin.run == run.id; });
    if (planned != plan_.thin.end()) {
      if (planned->every >= every) return;
      thinned_bytes_ += freed - planned->freed_bytes;
      planned->every = every;
      planned->why = why;
      planned->freed_bytes = freed;
      return;
    }
    thinned_bytes_ += freed;
    plan_.thin.push_back({run.id, every, QuotedSteps(run), why, freed});
  }

  void TrimEachRun() {
    const auto keep = static_cast<std::int64_t>(kCutTo * static_cast<double>(limits_.log_bytes_per_run));
    for (const auto& [id, usage] : usage_) {
      if (usage.log_bytes <= limits_.log_bytes_per_run || state_.FindRun(id) == nullptr) continue;
      Trim(id, usage.log_bytes, keep, StrCat("its log had ", usage.log_bytes, " bytes, the limit is ", limits_.log_bytes_per_run));
    }
  }

  void TrimByQuota() {
    std::int64_t used = 0;
    for (const auto& [run, usage] : usage_) used += usage.log_bytes;
    const auto over = [&] { return used - trimmed_bytes_ - limits_.log_quota_bytes; };
    const std::string why = StrCat("all logs had ", used, " bytes, their quota is ", limits_.log_quota_bytes);
    for (const FinishedSweep& finished : finished_) {
      ForEachRun(finished, [&](const core::Run& run) {
        if (over() > 0) Trim(run.id, UsageOf(run.id).log_bytes, 0, why);
      });
    }
    plan_.logs_over_bytes = std::max<std::int64_t>(0, over());
  }

  void Trim(const RunId& run, std::int64_t has_bytes, std::int64_t keep_bytes, const std::string& why) {
    const auto planned = std::find_if(plan_.trim.begin(), plan_.trim.end(), [&](const StoredPlan::Trim& trim) { return trim.run == run; });
    if (planned != plan_.trim.end()) {
      trimmed_bytes_ += planned->keep_bytes - keep_bytes;
      *planned = {run, keep_bytes, why, has_bytes - keep_bytes};
    } else if (has_bytes > keep_bytes) {
      trimmed_bytes_ += has_bytes - keep_bytes;
      plan_.trim.push_back({run, keep_bytes, why, has_bytes - keep_bytes});
    }
  }

  const core::State& state_;
  const Limits& limits_;
  const std::int64_t now_wall_ms_;
  const std::map<RunId, store::Usage>& usage_;
  const std::vector<FinishedSweep> finished_;
  StoredPlan plan_;
  std::int64_t thinned_bytes_ = 0;
  std::int64_t trimmed_bytes_ = 0;
};

}  // namespace

StoredPlan PlanStored(const core::State& state, const Limits& limits, std::int64_t now_wall_ms, const std::map<RunId, store::Usage>& usage) {
  return StoredPlanner(state, limits, now_wall_ms, usage).Plan();
}

}  // namespace entrain::retention
