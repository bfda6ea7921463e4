#include "policy/backtest/replay.h"

#include <algorithm>

namespace entrain::policy::backtest {
namespace {

std::optional<domain::Verdict> FirstStop(const domain::HealthRules& rules, const Trace& trace) {
  RunPolicy policy(rules, trace.shape);
  for (const domain::EntropySample& sample : trace.samples) {
    std::optional<domain::Verdict> end = policy.Observe(1, sample);
    for (domain::Verdict& notice : policy.TakeNotices()) {
      if (!end.has_value() && notice.action == domain::RuleAction::kPause) end = std::move(notice);
    }
    if (end.has_value()) return end;
  }
  return std::nullopt;
}

std::int64_t TokensAt(const Trace& trace, std::int64_t step) {
  const bool counted = trace.samples.back().tokens > 0;
  if (!counted) return step;
  for (const domain::EntropySample& sample : trace.samples) {
    if (sample.step >= step) return sample.tokens;
  }
  return trace.samples.back().tokens;
}

}  // namespace

Outcome Replay(const domain::HealthRules& rules, const Trace& trace) {
  Outcome outcome;
  outcome.label = trace.label;
  outcome.group = GroupOf(trace);
  outcome.part = PartOf(outcome.group);
  outcome.truth = LabelOf(trace);
  if (trace.samples.empty()) return outcome;
  outcome.last_step = trace.samples.back().step;
  outcome.tokens = TokensAt(trace, outcome.last_step);
  outcome.stop = FirstStop(rules, trace);
  if (!outcome.stop.has_value()) return outcome;
  outcome.saved = 1.0 - static_cast<double>(TokensAt(trace, outcome.stop->step)) / static_cast<double>(std::max<std::int64_t>(1, outcome.tokens));
  if (outcome.truth.onset_step.has_value()) {
    // Of the steps that the run was to train: one that ended early is not judged more strictly for it.
    const auto steps = static_cast<double>(std::max(trace.shape.steps, outcome.last_step));
    outcome.lag = static_cast<double>(outcome.stop->step - *outcome.truth.onset_step) / steps;
  }
  return outcome;
}

}  // namespace entrain::policy::backtest
