#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

#include "base/random.h"
#include "policy/backtest/replay.h"

namespace entrain::policy::backtest {
namespace {

constexpr double kNormal95 = 1.959963984540054;
constexpr int kDraws = 2'000;
constexpr std::uint64_t kBootstrapSeed = 20250103489;

using Runs = std::vector<const Outcome*>;

// The statistic of the runs, and the 2.5 and 97.5 percentiles of it over resampled runs.
Interval Bootstrap(const Runs& runs, const std::function<double(const Runs&)>& statistic) {
  Interval interval;
  interval.value = interval.low = interval.high = statistic(runs);
  if (runs.empty()) return interval;
  Rng rng(kBootstrapSeed, runs.size());
  std::vector<double> values;
  Runs drawn(runs.size());
  for (int i = 0; i < kDraws; ++i) {
    for (const Outcome*& run : drawn) run = runs[rng.Below(runs.size())];
    const double value = statistic(drawn);
    if (!std::isnan(value)) values.push_back(value);
  }
  if (values.empty()) return interval;
  std::sort(values.begin(), values.end());
  const auto at = [&](double quantile) { return values[static_cast<std::size_t>(quantile * static_cast<double>(values.size() - 1) + 0.5)]; };
  interval.low = at(0.025);
  interval.high = at(0.975);
  return interval;
}

double MedianLag(const Runs& runs) {
  std::vector<double> lags;
  for (const Outcome* run : runs) {
    if (run->lag.has_value()) lags.push_back(*run->lag);
  }
  return MedianOf(std::move(lags));
}

// A healthy run's loss is no saving.
double SavedShare(const Runs& runs) {
  double saved = 0.0;
  double all = 0.0;
  for (const Outcome* run : runs) {
    if (run->truth.collapsed) saved += run->saved * static_cast<double>(run->tokens);
    all += static_cast<double>(run->tokens);
  }
  return all > 0.0 ? saved / all : NAN;
}

void Count(const Outcome& outcome, Score* score) {
  const bool stopped = outcome.stop.has_value();
  if (outcome.truth.collapsed) {
    ++score->collapsing;
    score->collapsing_stopped += stopped ? 1 : 0;
    return;
  }
  ++score->healthy;
  score->healthy_stopped += stopped ? 1 : 0;
  if (!outcome.truth.dipped) return;
  ++score->healthy_dipped;
  score->healthy_dipped_stopped += stopped ? 1 : 0;
}

}  // namespace

Interval Wilson(std::int64_t hits, std::int64_t count) {
  if (count <= 0) return {NAN, 0.0, 1.0};
  const auto n = static_cast<double>(count);
  const double share = static_cast<double>(hits) / n;
  const double z2 = kNormal95 * kNormal95;
  const double middle = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
  const double half = kNormal95 * std::sqrt(share * (1.0 - share) / n + z2 / (4.0 * n * n)) / (1.0 + z2 / n);
  return {share, std::max(0.0, middle - half), std::min(1.0, middle + half)};
}

double MedianOf(std::vector<double> values) {
  if (values.empty()) return NAN;
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : 0.5 * (values[middle - 1] + values[middle]);
}

Score ScoreOf(const std::vector<Outcome>& outcomes) {
  Score score;
  Runs all;
  Runs collapsing;
  std::set<std::string> variants;
  for (const Outcome& outcome : outcomes) {
    Count(outcome, &score);
    all.push_back(&outcome);
    if (!outcome.truth.collapsed) continue;
    collapsing.push_back(&outcome);
    variants.insert(outcome.group.substr(0, outcome.group.find('|')));
  }
  score.collapsing_variants = static_cast<std::int64_t>(variants.size());
  score.detection = Wilson(score.collapsing_stopped, score.collapsing);
  score.false_stops = Wilson(score.healthy_stopped, score.healthy);
  score.median_lag = Bootstrap(collapsing, MedianLag);
  score.saved = Bootstrap(collapsing, SavedShare);
  score.saved_of_all = Bootstrap(all, SavedShare);
  return score;
}

bool MeetsTargets(const Score& score) {
  return score.healthy_stopped == 0 && score.healthy >= kTargetHealthyRuns && score.healthy_dipped >= kTargetDippedRuns &&
         score.collapsing >= kTargetCollapsingRuns && score.collapsing_variants >= kTargetCollapsingVariants &&
         score.detection.value >= kTargetDetection && score.median_lag.value <= kTargetMedianLag;
}

}  // namespace entrain::policy::backtest
