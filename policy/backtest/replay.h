// A policy on recorded runs: what it would have done, beside what became of each run.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "domain/run_config.h"
#include "policy/backtest/label.h"
#include "policy/backtest/split.h"
#include "policy/backtest/trace.h"

namespace entrain::policy::backtest {

struct Outcome {
  std::string label;
  std::string group;
  Part part = Part::kTest;
  Label truth;
  std::int64_t last_step = 0;
  std::int64_t tokens = 0;  // of the whole recording; steps where it does not say
  // The first verdict that ends, pauses or rescues the run.
  std::optional<domain::Verdict> stop;
  // Steps from the collapse to the stop, as a share of the recording's steps; negative: before it. Only of a collapsing run that is stopped.
  std::optional<double> lag;
  // Share of the recording's tokens that a stop leaves untrained; 0 without one.
  double saved = 0.0;
};

Outcome Replay(const domain::HealthRules& rules, const Trace& trace);

// How well a policy does, over outcomes of one part. Intervals hold 95 %: Wilson's for shares, percentile bootstrap over runs (2,000 draws, fixed seed)
// for the rest.
struct Interval {
  double value = 0.0;
  double low = 0.0;
  double high = 0.0;
};
struct Score {
  std::int64_t collapsing = 0;
  std::int64_t collapsing_stopped = 0;
  std::int64_t collapsing_variants = 0;
  std::int64_t healthy = 0;
  std::int64_t healthy_stopped = 0;
  std::int64_t healthy_dipped = 0;
  std::int64_t healthy_dipped_stopped = 0;
  Interval detection;      // collapsing runs stopped
  Interval false_stops;    // healthy runs stopped
  Interval median_lag;     // of stopped collapsing runs; NaN for none
  Interval saved;          // of all tokens of collapsing runs
  Interval saved_of_all;   // of all tokens of all runs
};
Score ScoreOf(const std::vector<Outcome>& outcomes);

// Wilson's interval of `hits` of `count`; [0, 1] for none.
Interval Wilson(std::int64_t hits, std::int64_t count);
double MedianOf(std::vector<double> values);  // NaN for none

// What the default preset is held to on the test part of examples/corpus.
inline constexpr double kTargetDetection = 0.95;
inline constexpr double kTargetMedianLag = 0.25;
inline constexpr std::int64_t kTargetHealthyRuns = 60;
inline constexpr std::int64_t kTargetDippedRuns = 20;
inline constexpr std::int64_t kTargetCollapsingRuns = 40;
inline constexpr std::int64_t kTargetCollapsingVariants = 3;
bool MeetsTargets(const Score& score);

}  // namespace entrain::policy::backtest
