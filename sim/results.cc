#include "sim/results.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <tuple>
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

// The rungs' tables, worked out from the stored samples and compared with what was decided.
struct Entry {
  double value;
  const core::Run* run;
};

// nullopt: a later attempt that began before the step replaced its samples, and did not come as far.
std::optional<double> MeanLoss(const core::Run& run, store::SampleStore* samples, std::int64_t step) {
  const std::int64_t window = run.spec->early_stopping.window_steps;
  double sum = 0.0;
  std::int64_t count = 0;
  const auto stored = samples->ReadSamples(run.id, run.spec->context, std::max<std::int64_t>(0, step - window), window);
  if (!stored.ok()) return std::nullopt;
  for (const store::StoredSample& sample : *stored) {
    if (sample.sample.step > step) break;
    sum += sample.sample.loss;
    ++count;
  }
  if (count < std::min(window, step)) return std::nullopt;
  return sum / static_cast<double>(count);
}

void CheckRung(const domain::EarlyStopping& rule, std::size_t rung, std::vector<Entry> entries, Stage* stage) {
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tuple(std::isnan(a.value), std::isnan(a.value) ? 0.0 : a.value, a.run->number) <
           std::tuple(std::isnan(b.value), std::isnan(b.value) ? 0.0 : b.value, b.run->number);
  });
  const std::size_t best = std::max<std::size_t>(1, entries.size() / static_cast<std::size_t>(rule.reduction_factor));
  for (std::size_t place = 0; place < entries.size(); ++place) {
    const core::Run& run = *entries[place].run;
    const domain::Rung& decided = run.rungs[rung];
    if (place < best && decided.outcome == domain::RungOutcome::kPruned) {
      stage->Break("run ", run.id.value(), " was pruned at rung ", rung, " on place ", place + 1, " of ", entries.size(), ", the best ", best, " go on");
    }
    const bool by_people = decided.reason.find(" by ann") != std::string::npos;
    if (place >= best && rule.method == domain::Halving::kSync && decided.outcome == domain::RungOutcome::kPromoted && !by_people) {
      stage->Break("run ", run.id.value(), " was promoted at rung ", rung, " on place ", place + 1, " of ", entries.size(), ", the best ", best, " go on");
    }
  }
}

void CheckRungs(const core::State& state, const core::Sweep& sweep, store::SampleStore* samples, Stage* stage) {
  const domain::EarlyStopping& rule = sweep.spec->early_stopping;
  if (rule.method == domain::Halving::kNone) return;
  std::vector<std::vector<Entry>> rungs(20);
  for (const auto& [id, run] : state.runs) {
    if (run->sweep != sweep.id) continue;
    if (run->generation > 1 && !run->rungs.empty()) stage->Break("run ", id.value(), " was retried and is compared all the same");
    for (std::size_t rung = 0; rung < run->rungs.size(); ++rung) {
      const double value = run->rungs[rung].value;
      const std::optional<double> again = MeanLoss(*run, samples, run->rungs[rung].step);
      if (again && std::abs(value - *again) > 1e-6) stage->Break("run ", id.value(), " has ", value, " at rung ", rung, ", its samples give ", *again);
      rungs[rung].push_back({value, &*run});
    }
  }
  for (std::size_t rung = 0; rung < rungs.size(); ++rung) CheckRung(rule, rung, rungs[rung], stage);
}

}  // namespace

void CheckResults(const core::State& state, store::SampleStore* samples, Stage* stage) {
  for (const auto& [id, sweep] : state.sweeps) CheckRungs(state, *sweep, samples, stage);
  for (const auto& [id, run] : state.runs) {
    if (run->past.size() >= state.config.max_attempts_kept) continue;
    const auto stored = samples->ReadSamples(id, run->spec->context, 0, kAllSamples);
    if (!stored.ok()) continue;
    CheckOwners(*run, *stored, stage);
    CheckVerdict(*run, *stored, stage);
  }
}

}  // namespace entrain::sim
