#include "coordinator/server/fact_counts.h"

#include <algorithm>
#include <string>
#include <variant>

#include "base/overloaded.h"

namespace entrain::server {
namespace {

metrics::VerdictLabels LabelsOf(const domain::VerdictRecorded& fact, const core::State& state) {
  metrics::VerdictLabels labels{.run_id = fact.run.value(),
                                .sweep = "",
                                .label = "",
                                .reason = std::string(domain::ToString(fact.verdict.reason)),
                                .rule = fact.verdict.rule,
                                .action = std::string(domain::ToString(fact.verdict.action))};
  const core::Run* run = state.FindRun(fact.run);
  if (run == nullptr) return labels;
  labels.label = run->spec->label;
  if (const core::Sweep* sweep = state.FindSweep(run->sweep)) labels.sweep = sweep->spec->name;
  return labels;
}

// Seconds since the run's entry, which goes; nothing when there is none.
template <typename Observe>
void Ended(std::map<RunId, std::int64_t>* begun_ms, const RunId& run, std::int64_t at_ms, const Observe& observe) {
  const auto found = begun_ms->find(run);
  if (found == begun_ms->end()) return;
  observe(static_cast<double>(std::max<std::int64_t>(at_ms - found->second, 0)) / 1000.0);
  begun_ms->erase(found);
}

}  // namespace

void FactCounts::Gone(const RunId& run) {
  queued_at_ms_.erase(run);
  placed_at_ms_.erase(run);
}

void FactCounts::Add(const std::vector<domain::Fact>& facts, const core::State& state, metrics::CoordinatorMetrics* metrics) {
  for (const domain::Fact& fact : facts) {
    const std::int64_t at_ms = fact.at_ms;
    std::visit(Overloaded{
                   [&](const domain::VerdictRecorded& verdict) { metrics->CountVerdict(LabelsOf(verdict, state)); },
                   [&](const domain::RunFinished& finished) {
                     metrics->CountRunFinished(std::string(domain::ToString(finished.state)));
                     Gone(finished.run);
                   },
                   [&](const domain::SweepAdmitted& admitted) {
                     for (const domain::RunSpec& run : admitted.spec.runs) Queued(domain::MakeRunId(admitted.sweep, run.cell, 1), at_ms);
                   },
                   [&](const domain::RunRetried& retried) { Queued(retried.run, at_ms); },
                   [&](const domain::RunRescued& rescued) { Queued(rescued.run, at_ms); },
                   [&](const domain::RunResumed& resumed) { Queued(resumed.run, at_ms); },
                   // Held back on purpose until then.
                   [&](const domain::RunRequeued& requeued) { Queued(requeued.run, std::max(at_ms, requeued.not_before_ms)); },
                   [&](const domain::RunPaused& paused) { Gone(paused.run); },
                   [&](const domain::RunPlaced& placed) {
                     Ended(&queued_at_ms_, placed.key.run, at_ms, [&](double seconds) { metrics->ObserveQueueWait(seconds); });
                     placed_at_ms_[placed.key.run] = at_ms;
                   },
                   [&](const domain::RunStarted& started) {
                     Ended(&placed_at_ms_, started.key.run, at_ms, [&](double seconds) { metrics->ObserveGangStart(seconds); });
                   },
                   [](const auto&) {},
               },
               fact.body);
  }
}

}  // namespace entrain::server
