#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <tuple>
#include <utility>

#include "reports/cost_model.h"
#include "reports/report.h"
#include "reports/run_result.h"

namespace entrain::reports {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct Entry {
  const RunData* run;
  RunResult result;
};

bool HasResult(const Entry& entry) { return std::isfinite(entry.result.perplexity) || entry.result.sample != nullptr; }

// The runs that a row averages: those trained to the end, else all with a result.
std::vector<Entry> Averaged(const std::vector<Entry>& entries, bool completed) {
  std::vector<Entry> averaged;
  for (const Entry& entry : entries) {
    if (HasResult(entry) && (entry.result.completed || !completed)) averaged.push_back(entry);
  }
  return averaged;
}

template <typename Get>
double MeanOf(const std::vector<Entry>& entries, Get get) {
  double sum = 0;
  std::int64_t n = 0;
  for (const Entry& entry : entries) {
    const double value = get(entry);
    if (std::isnan(value)) continue;
    sum += value;
    ++n;
  }
  return n == 0 ? kNan : sum / static_cast<double>(n);
}

double PerplexitySpread(const std::vector<Entry>& entries, double mean) {
  double squares = 0;
  std::int64_t n = 0;
  for (const Entry& entry : entries) {
    if (std::isnan(entry.result.perplexity)) continue;
    squares += (entry.result.perplexity - mean) * (entry.result.perplexity - mean);
    ++n;
  }
  return n < 2 ? kNan : std::sqrt(squares / static_cast<double>(n - 1));
}

void AddBands(const Entry& entry, LeaderboardRow* row) {
  if (entry.result.sample == nullptr) return;
  const auto& entropy_nats = entry.result.sample->entropy_nats;
  const Bands log_context = CountBands(entropy_nats, entry.run->context, BandBasis::kLogContext);
  const Bands observed = CountBands(entropy_nats, entry.run->context, BandBasis::kObservedMaximum);
  for (int quarter = 0; quarter < 4; ++quarter) {
    row->bands_log_context.quarter[quarter] += log_context.quarter[quarter];
    row->bands_observed.quarter[quarter] += observed.quarter[quarter];
  }
}

void AddStates(const std::vector<Entry>& entries, LeaderboardRow* row) {
  for (const Entry& entry : entries) {
    ++row->states[StateText(*entry.run)];
    const bool ended_early = WasStopped(*entry.run) || entry.run->state == domain::RunState::kFailed;
    if (ended_early && row->note.empty()) row->note = ReasonText(*entry.run);
  }
}

// Of the row's first run: its others differ in the seed only.
void AddCost(const RunData& run, LeaderboardRow* row) {
  row->communication_gb = kNan;
  row->latency_minutes = kNan;
  if (!run.model || run.context <= 0) return;
  const InferenceCost cost = PrivateInferenceCost(*run.model, run.context);
  row->communication_gb = cost.communication_gb;
  row->latency_minutes = cost.latency_minutes;
}

LeaderboardRow MakeRow(const std::vector<Entry>& entries) {
  LeaderboardRow row;
  row.variant = entries.front().run->variant;
  row.axes = AxesText(entries.front().run->axes);
  row.runs = static_cast<std::int64_t>(entries.size());
  row.completed =
      std::any_of(entries.begin(), entries.end(), [](const Entry& entry) { return entry.result.completed; });
  const std::vector<Entry> averaged = Averaged(entries, row.completed);
  row.n = static_cast<std::int64_t>(averaged.size());
  row.perplexity_mean = MeanOf(averaged, [](const Entry& entry) { return entry.result.perplexity; });
  row.perplexity_spread = PerplexitySpread(averaged, row.perplexity_mean);
  row.loss_mean = MeanOf(averaged, [](const Entry& entry) { return entry.result.loss; });
  row.tokens_per_second_mean = MeanOf(averaged, [](const Entry& entry) { return entry.result.tokens_per_second; });
  AddCost(*entries.front().run, &row);
  for (const Entry& entry : averaged) {
    AddBands(entry, &row);
    const bool first = &entry == &averaged.front();
    row.result_step_min = first ? entry.result.step : std::min(row.result_step_min, entry.result.step);
    row.result_step_max = std::max(row.result_step_max, entry.result.step);
  }
  AddStates(entries, &row);
  return row;
}

auto Rank(const LeaderboardRow& row) {
  const bool has_perplexity = !std::isnan(row.perplexity_mean);
  const int group = !has_perplexity ? 2 : row.completed ? 0 : 1;
  return std::make_tuple(group, has_perplexity ? row.perplexity_mean : 0.0, std::cref(row.variant),
                         std::cref(row.axes));
}

}  // namespace

std::vector<LeaderboardRow> MakeLeaderboard(const SweepData& sweep) {
  std::map<std::pair<std::string, std::string>, std::vector<Entry>> groups;
  for (const RunData& run : sweep.runs) groups[{run.variant, AxesText(run.axes)}].push_back({&run, ResultOf(run)});
  std::vector<LeaderboardRow> rows;
  for (const auto& [key, entries] : groups) rows.push_back(MakeRow(entries));
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return Rank(a) < Rank(b); });
  return rows;
}

}  // namespace entrain::reports
