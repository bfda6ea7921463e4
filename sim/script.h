// What would happen to a run if nothing disturbed it: how fast it trains, what its heads' entropies are, and how its attempts fail.
// A function of the seed and the run alone, so that a repeated step gives the same sample.
#pragma once

#include <cstdint>

#include "domain/fleet.h"
#include "domain/sample.h"
#include "domain/sweep.h"

namespace entrain::sim {

struct RunScript {
  std::int64_t step_ms = 100;
  std::int64_t checkpoint_every_steps = 10;
  // From this step on every head is collapsed; 0: never. An attempt resumed elsewhere need not go the same way.
  std::int64_t collapses_at_step = 0;
  enum class Of { kEvery, kFirst, kLater } collapses_of = Of::kEvery;
  std::int64_t non_finite_at_step = 0;  // 0: never
  double loss = 4.0;                     // at step 0; runs differ, so that rungs have an order
};
// Cells of this variant are healthy and take about half a second a step.
inline constexpr char kLongVariant[] = "long";
RunScript ScriptOf(std::uint64_t seed, const domain::RunSpec& spec);

// How an attempt goes wrong by itself, while things go wrong.
struct Fate {
  domain::EndCause cause = domain::EndCause::kCompleted;  // kCompleted: it does not
  std::int64_t at_step = 0;                               // 0: it never comes up
  bool freezes = false;                                   // it hangs when it is stopped; only a kill ends it
  std::int64_t stalls_at_step = 0;                        // from there it lives and trains no more; 0: never
};
Fate FateOf(std::uint64_t seed, const domain::AttemptKey& key, const domain::RunSpec& spec, std::uint64_t fail_per_mille);

domain::EntropySample SampleOf(const RunScript& script, const domain::RunSpec& spec, AttemptNumber attempt, std::int64_t step);

// A cell of `machines` x `ranks` ranks.
domain::RunSpec MakeSpec(const std::string& label, std::int64_t machines, std::int64_t ranks, std::int64_t steps);

}  // namespace entrain::sim
