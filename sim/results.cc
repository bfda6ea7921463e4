#include "sim/results.h"

#include <map>
#include <optional>
#include <vector>

#include "policy/policy.h"

namespace entrain::sim {
namespace {

constexpr std::int64_t kAllSamples = 1'000'000;

void CheckOwners(const core::Run& run, const std::vector<store::StoredSample>& samples, Stage* stage) {
  std::map<AttemptNumber, std::int64_t> resumed_from;
  for (const auto& attempt : run.past) resumed_from[attempt->key.attempt] = attempt->resume_from.step;
  std::int64_t last_step = 0;
  for (const store::StoredSample& stored : samples) {
    const std::int64_t step = stored.sample.step;
    if (step <= last_step) stage->Break("run ", run.id.value(), " has step ", step, " after step ", last_step);
    last_step = step;
    AttemptNumber owner = 0;
    for (const auto& [attempt, resume_step] : resumed_from) {
      if (resume_step < step) owner = attempt;
    }
    if (owner != stored.attempt) {
      stage->Break("step ", step, " of run ", run.id.value(), " is attempt ", stored.attempt, "'s, but attempt ", owner, " trained it last");
    }
  }
}

void CheckVerdict(const core::Run& run, const std::vector<store::StoredSample>& samples, Stage* stage) {
  policy::RunPolicy policy(run.spec->health, {run.spec->n_layer, run.spec->n_head, run.spec->context, run.spec->steps});
  std::optional<domain::Verdict> again;
  for (const store::StoredSample& stored : samples) {
    if (stored.sample.step > run.result_step && run.state != domain::RunState::kHalted) break;
    std::optional<domain::Verdict> verdict = policy.Observe(stored.attempt, stored.sample);
    if (verdict.has_value() && !again.has_value()) again = std::move(verdict);
  }
  const bool halted = run.state == domain::RunState::kHalted && run.verdict.has_value();
  const bool judged = run.state == domain::RunState::kSucceeded && run.fully_judged;
  if (halted && (!again.has_value() || again->step != run.verdict->step || again->rule != run.verdict->rule)) {
    stage->Break("run ", run.id.value(), " was halted at step ", run.verdict->step, " by ", run.verdict->rule, "; its samples give ",
                 again.has_value() ? StrCat("step ", again->step, " by ", again->rule) : std::string("no verdict"));
  }
  if (judged && again.has_value()) {
    stage->Break("run ", run.id.value(), " succeeded, fully judged, and its samples give a verdict at step ", again->step);
  }
}

}  // namespace

void CheckResults(const core::State& state, store::SampleStore* samples, Stage* stage) {
  for (const auto& [id, run] : state.runs) {
    if (run->past.size() >= state.config.max_attempts_kept) continue;
    const auto stored = samples->ReadSamples(id, run->spec->context, 0, kAllSamples);
    if (!stored.ok()) continue;
    CheckOwners(*run, *stored, stage);
    CheckVerdict(*run, *stored, stage);
  }
}

}  // namespace entrain::sim
