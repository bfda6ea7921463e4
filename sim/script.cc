#include "sim/script.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <string_view>

#include "base/random.h"
#include "base/strings.h"
#include "domain/early_stopping.h"
#include "domain/model_config.h"

namespace entrain::sim {
namespace {

constexpr std::int64_t kLayers = 1;
constexpr std::int64_t kHeads = 2;
constexpr std::int64_t kContext = 16;

// FNV-1a: the same stream for the same name with every standard library.
std::uint64_t StreamOf(std::string_view name) {
  std::uint64_t hash = 1469598103934665603ULL;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return hash;
}

}  // namespace

RunScript ScriptOf(std::uint64_t seed, const domain::RunSpec& spec) {
  Rng rng(seed, StreamOf(spec.cell.value()));
  RunScript script;
  script.step_ms = 50 + static_cast<std::int64_t>(rng.Below(450));
  script.checkpoint_every_steps = 4 + static_cast<std::int64_t>(rng.Below(12));
  script.loss = 3.0 + 2.0 * rng.Uniform();
  if (spec.variant == kLongVariant) {
    script.step_ms = 450;
    return script;
  }
  const auto some_step = [&] { return 1 + static_cast<std::int64_t>(rng.Below(static_cast<std::uint64_t>(spec.steps))); };
  const std::uint64_t kind = rng.Below(20);
  if (kind < 4) script.collapses_at_step = some_step();
  if (kind < 2) script.collapses_of = RunScript::Of::kFirst;
  if (kind > 17) {
    script.collapses_at_step = some_step();
    script.collapses_of = RunScript::Of::kLater;
  }
  if (kind == 4) script.non_finite_at_step = some_step();
  return script;
}

Fate FateOf(std::uint64_t seed, const domain::AttemptKey& key, const domain::RunSpec& spec, std::uint64_t fail_per_mille) {
  const std::int64_t steps = spec.steps;
  Rng rng(seed, StreamOf(key.ToString()));
  Fate fate;
  fate.freezes = fail_per_mille > 0 && rng.Below(12) == 0;
  // Only a run with a stall limit ever ends then.
  if (fail_per_mille > 0 && spec.limits.stall_limit_s > 0 && rng.Below(4) == 0) {
    fate.stalls_at_step = 1 + static_cast<std::int64_t>(rng.Below(static_cast<std::uint64_t>(steps)));
    // Often right at a rung, so that the report of it and the stop of the stalled gang meet.
    const std::vector<std::int64_t> rungs = domain::RungSteps(spec.early_stopping, steps);
    if (!rungs.empty() && rng.Below(2) == 0) fate.stalls_at_step = rungs[rng.Below(rungs.size())];
  }
  if (rng.Below(1000) >= fail_per_mille) return fate;
  constexpr domain::EndCause kCauses[] = {domain::EndCause::kCrashed, domain::EndCause::kCrashed, domain::EndCause::kOutOfMemory,
                                          domain::EndCause::kStorage, domain::EndCause::kLaunch, domain::EndCause::kUserError,
                                          domain::EndCause::kDevice};
  fate.cause = kCauses[rng.Below(7)];
  const bool comes_up = fate.cause != domain::EndCause::kLaunch && fate.cause != domain::EndCause::kUserError;
  fate.at_step = comes_up ? 1 + static_cast<std::int64_t>(rng.Below(static_cast<std::uint64_t>(steps))) : 0;
  return fate;
}

domain::EntropySample SampleOf(const RunScript& script, const domain::RunSpec& spec, AttemptNumber attempt, std::int64_t step) {
  const bool goes_this_way = script.collapses_of == RunScript::Of::kEvery || (attempt == 1) == (script.collapses_of == RunScript::Of::kFirst);
  const bool collapsed = script.collapses_at_step > 0 && step >= script.collapses_at_step && goes_this_way;
  const double bound_nats = domain::EntropyBoundNats(spec.context);
  domain::EntropySample sample;
  sample.step = step;
  sample.loss = step == script.non_finite_at_step ? std::numeric_limits<double>::quiet_NaN() : script.loss - 0.01 * static_cast<double>(step);
  sample.wall_ms = step * script.step_ms;
  sample.grad_norm = 1.0;
  sample.tokens = step * 16;
  sample.entropy_nats.assign(static_cast<std::size_t>(spec.n_layer * spec.n_head), static_cast<float>(bound_nats * (collapsed ? 0.01 : 0.6)));
  return sample;
}

domain::RunSpec MakeSpec(const std::string& label, std::int64_t machines, std::int64_t ranks, std::int64_t steps) {
  domain::RunSpec spec;
  spec.cell = CellId(StrCat("cell-", label));
  spec.label = label;
  spec.variant = "short";
  spec.config_json = "{}";
  spec.resources.machines = machines;
  spec.resources.ranks_per_machine = ranks;
  spec.steps = steps;
  spec.n_layer = kLayers;
  spec.n_head = kHeads;
  spec.context = kContext;
  spec.health.collapse.min_gap_steps = 5;
  spec.health.collapse.min_gap_fraction = 0.0;
  spec.health.collapse.cascade_layers = 0;
  constexpr domain::RuleAction kActions[] = {domain::RuleAction::kNotify, domain::RuleAction::kPause, domain::RuleAction::kRescue,
                                             domain::RuleAction::kStop};
  const std::uint64_t choice = StreamOf(label) % 8;
  if (choice < std::size(kActions)) spec.health.collapse.action = kActions[choice];
  if (spec.health.collapse.action == domain::RuleAction::kRescue) {
    domain::RunSpec rescue = spec;
    rescue.cell = CellId(StrCat("cell-", label, "-rescue"));
    rescue.label = StrCat(label, " (rescue)");
    rescue.health.collapse.action = domain::RuleAction::kStopAndKeep;
    spec.rescue.push_back(std::move(rescue));
  }
  return spec;
}

}  // namespace entrain::sim
