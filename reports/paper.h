// The printed figures of arXiv 2501.03489, and a sweep's results beside them. A sweep of another size than the paper's is compared by
// ranks and signs only: its perplexities are of other text in other tokens, and stand in columns of their own.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "reports/report.h"

namespace entrain::reports {

enum class PaperMetric {
  kPerplexity,            // held-out, at the last step; the smaller the better
  kQuarterPerplexity,     // at a quarter of the steps
  kHalfPerplexity,        // at half of them
  kTopQuarterPercent,     // heads by quarter of the model's largest head entropy
  kMiddleHalfPercent,
  kBottomQuarterPercent,
  kEarlyLayersShare,      // mean entropy of the first five twelfths of the layers, a share of U = ln(T!)/T
  kDeepLayersShare,       // of the last third
  kCommunicationGb,       // of the cost model (cost_model.h)
  kLatencyMinutes,
};
std::string_view MetricName(PaperMetric metric);

struct PaperFigure {
  PaperMetric metric;
  // Equal where one number is printed; NaN where the paper prints NaN (diverged), which ranks behind every number.
  double low;
  double high;
};

struct PaperTableRow {
  std::string row;  // as the leaderboard names it: a variant, with axis values other than the seed
  std::vector<PaperFigure> figures;
};

struct PaperTable {
  std::string name;       // "architectures": of --paper, and of the sweep files in examples/paper
  std::string title;
  std::string source;     // which table or figure of the paper
  std::int64_t n_layer;
  std::int64_t context;
  std::string reference;  // the row that signs are taken against
  std::vector<PaperTableRow> rows;
};
const std::vector<PaperTable>& PaperTables();
// Null when there is none of this name.
const PaperTable* FindPaperTable(std::string_view name);

// A difference counts as told apart when both rows have at least 3 seeds and it exceeds two standard errors.
enum class Sign { kNone, kLess, kLessUnsure, kEqual, kMoreUnsure, kMore };
std::string_view SignText(Sign sign);  // "-", "(-)", "=", "(+)", "+", ""

struct ComparedFigure {
  // NaN and rank 0: the paper prints none for this row.
  double paper_low;
  double paper_high;
  std::int64_t paper_rank;  // 1: the smallest; equal figures share a rank
  Sign paper_sign;          // against the table's reference row
  bool paper_diverged;      // printed as NaN
  // NaN and rank 0: there is no run with the figure.
  double here;
  double here_spread;  // sample standard deviation; NaN for n < 2
  std::int64_t n;
  std::int64_t here_rank;
  Sign here_sign;
};

// One metric over all rows.
struct ComparedMetric {
  PaperMetric metric;
  std::vector<ComparedFigure> figures;  // one a row of the comparison
  // Pairs of rows that the paper orders and for which there are figures here.
  std::int64_t pairs_same = 0;
  std::int64_t pairs_opposite = 0;
  std::int64_t pairs_unsure = 0;
};

struct PaperComparison {
  std::string table;
  std::string title;
  std::string source;
  std::string reference;
  std::string size;         // "L=12 d=64 T=64" of the sweep's runs
  bool full_scale = false;  // every run has the table's depth and context, and the paper's width
  std::vector<std::string> rows;       // the table's, then those of the sweep that it lacks
  std::vector<ComparedMetric> metrics;
  std::vector<std::string> missing;    // rows of the table without a run here
};
PaperComparison CompareWithPaper(const PaperTable& table, const SweepData& sweep);

// At most 100 columns.
std::string PaperText(const PaperComparison& comparison);
std::string PaperJson(const PaperComparison& comparison);

}  // namespace entrain::reports
