// Run and sample values -> leaderboard, HTML report, tables. Pure: no files, no network.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "domain/run_state.h"
#include "domain/sample.h"

namespace entrain::reports {

struct RunData {
  std::string id;
  std::string label;
  std::string variant;
  std::map<std::string, std::string> axes;
  domain::RunState state = domain::RunState::kQueued;
  std::string reason;
  domain::Verdict verdict;  // reason kNone: none
  std::int64_t steps = 0;
  std::int64_t result_step = 0;  // the step whose results count; 0: the last
  std::int64_t n_layer = 0;
  std::int64_t n_head = 0;
  std::int64_t context = 0;
  std::int64_t parameters = 0;
  std::int64_t world_size = 1;
  std::int64_t attempts = 0;
  std::string config_json;
  std::vector<domain::EntropySample> samples;  // in step order, thinned
  std::vector<domain::Evaluation> evaluations;
};

struct SweepData {
  std::string id;
  std::string name;
  std::string owner;
  std::string yaml;
  std::int64_t created_wall_ms = 0;
  std::string build;     // version and build id of the program that made the report
  std::string hardware;  // workers' devices
  std::string dataset;   // name@hash
  std::vector<RunData> runs;
};

// Heads by quarter: of the largest head entropy observed in the model (the paper's bands), or of ln T.
enum class BandBasis { kObservedMaximum, kLogContext };
struct Bands {
  std::int64_t quarter[4] = {0, 0, 0, 0};
};
Bands CountBands(const std::vector<float>& entropy_nats, std::int64_t context, BandBasis basis);

// One row a variant (and axis values other than the seed), over its seeds.
struct LeaderboardRow {
  std::string variant;
  std::string axes;
  std::int64_t n = 0;          // runs with a result
  std::int64_t runs = 0;       // runs in all
  double perplexity_mean = 0;  // of the last evaluation that counts; NaN when none
  double perplexity_spread = 0;  // sample standard deviation; NaN for n < 2
  double loss_mean = 0;
  double tokens_per_second_mean = 0;
  Bands bands_log_context;       // summed over the row's runs, at the result step
  Bands bands_observed;
  std::map<std::string, std::int64_t> states;  // "succeeded" -> 2, "halted (collapse)" -> 1
  std::string note;              // the first stop's reason
};
// Best perplexity first; rows without a result last.
std::vector<LeaderboardRow> MakeLeaderboard(const SweepData& sweep);

std::string LeaderboardText(const std::vector<LeaderboardRow>& rows);
std::string LeaderboardJson(const std::vector<LeaderboardRow>& rows);
std::string LeaderboardCsv(const std::vector<LeaderboardRow>& rows);

// One self-contained file that opens from disk without a network.
std::string ReportHtml(const SweepData& sweep);

}  // namespace entrain::reports
