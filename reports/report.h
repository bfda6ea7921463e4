// Run and sample values -> leaderboard, HTML report, tables. Pure: no files, no network.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "domain/model_config.h"
#include "domain/run_state.h"
#include "domain/sample.h"

namespace entrain::reports {

// What a run reported at a rung of early stopping, and what was decided there.
struct RungData {
  std::int64_t step = 0;
  double value = 0.0;
  std::string metric;   // "eval_loss" or "train_loss"
  std::string outcome;  // "", "held", "promoted" or "pruned"
  std::string reason;
};

struct RunData {
  std::string id;
  std::string label;
  std::string variant;
  std::map<std::string, std::string> axes;
  domain::RunState state = domain::RunState::kQueued;
  std::string reason;
  domain::Verdict verdict;  // reason kNone: none
  std::string rescue_of;    // the run that this one goes on from with other settings; empty: none
  std::string rescued_by;
  std::int64_t fork_step = 0;
  std::int64_t steps = 0;
  std::int64_t result_step = 0;  // the step whose results count; 0: the last
  std::int64_t n_layer = 0;
  std::int64_t n_head = 0;
  std::int64_t context = 0;
  std::int64_t parameters = 0;
  std::int64_t world_size = 1;
  std::int64_t attempts = 0;
  std::int64_t samples_thinned_every = 0;  // retention kept one of so many; 0: all were there
  std::string config_json;
  std::string config_hash;  // the cell's id
  std::vector<RungData> rungs;            // lowest first
  std::vector<domain::Verdict> notices;   // verdicts that did not end the run, oldest first
  // As in config_json; what the private-inference cost is counted from. None: no cost is shown.
  std::optional<domain::ModelConfig> model;
  std::vector<domain::EntropySample> samples;  // in step order; any number, the report thins them
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
  std::string worker_versions;
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
  std::int64_t n = 0;          // runs whose results are averaged here
  std::int64_t runs = 0;       // runs in all
  // True: n are the runs that trained to their end. False: none did, so n are those with any result, as of the step that counts;
  // such a row is not comparable and ranks below those that are.
  bool completed = false;
  double perplexity_mean = 0;  // of the last evaluation that counts; NaN when none
  double perplexity_spread = 0;  // sample standard deviation; NaN for n < 2
  double loss_mean = 0;          // training loss over the last twentieth (at most 20) of the samples that count
  double tokens_per_second_mean = 0;  // over the runs' medians
  std::int64_t result_step_min = 0;   // the steps whose results count, over the n runs
  std::int64_t result_step_max = 0;
  // Private inference of one token from a full context; NaN without a model.
  double communication_gb = 0;
  double latency_minutes = 0;
  Bands bands_log_context;       // summed over the row's runs, at the result step
  Bands bands_observed;
  std::map<std::string, std::int64_t> states;  // "succeeded" -> 2, "halted (collapse)" -> 1
  std::string note;              // the first stop's reason
};
// Completed rows by perplexity, then others by perplexity, then rows without a result; equal rows by name.
std::vector<LeaderboardRow> MakeLeaderboard(const SweepData& sweep);

// What won, what was stopped and why, and what stopping saved: a sentence each.
std::vector<std::string> SummaryLines(const SweepData& sweep);

// At most 100 columns.
std::string LeaderboardText(const std::vector<LeaderboardRow>& rows);
std::string LeaderboardJson(const std::vector<LeaderboardRow>& rows);
std::string LeaderboardCsv(const std::vector<LeaderboardRow>& rows);

struct PaperComparison;
// One self-contained file that opens from disk without a network; with a section beside the paper's figures when `paper` is given.
std::string ReportHtml(const SweepData& sweep, const PaperComparison* paper = nullptr);

}  // namespace entrain::reports
