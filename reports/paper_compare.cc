#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <optional>
#include <utility>

#include "base/strings.h"
#include "reports/cost_model.h"
#include "reports/paper.h"
#include "reports/run_result.h"

namespace entrain::reports {
namespace {

constexpr double kNoFigure = std::numeric_limits<double>::quiet_NaN();
constexpr std::int64_t kPaperWidth = 768;
constexpr std::int64_t kSeedsOfAClaim = 3;

// The evaluation at this share of the run's steps, if there was one.
double PerplexityAt(const RunData& run, std::int64_t numerator, std::int64_t denominator) {
  for (const auto& evaluation : run.evaluations) {
    if (evaluation.step * denominator == run.steps * numerator && evaluation.step <= LastCountedStep(run)) return std::exp(evaluation.loss);
  }
  return kNoFigure;
}

// Of the quarters [first, last], of the largest head entropy observed.
double QuartersPercent(const RunData& run, const RunResult& result, int first, int last) {
  if (result.sample == nullptr) return kNoFigure;
  const Bands bands = CountBands(result.sample->entropy_nats, run.context, BandBasis::kObservedMaximum);
  const std::int64_t all = std::accumulate(std::begin(bands.quarter), std::end(bands.quarter), std::int64_t{0});
  const std::int64_t some = std::accumulate(bands.quarter + first, bands.quarter + last + 1, std::int64_t{0});
  return all == 0 ? kNoFigure : 100.0 * static_cast<double>(some) / static_cast<double>(all);
}

// Mean over the heads of layers [begin, end), a share of U.
double LayersShare(const RunData& run, const RunResult& result, std::int64_t begin, std::int64_t end) {
  if (result.sample == nullptr || run.n_layer * run.n_head != static_cast<std::int64_t>(result.sample->entropy_nats.size())) return kNoFigure;
  if (begin >= end) return kNoFigure;
  const auto& heads = result.sample->entropy_nats;
  const double sum = std::accumulate(heads.begin() + begin * run.n_head, heads.begin() + end * run.n_head, 0.0);
  return sum / static_cast<double>((end - begin) * run.n_head) / domain::EntropyBoundNats(run.context);
}

double CostOf(const RunData& run, PaperMetric metric) {
  if (!run.model || run.context <= 0) return kNoFigure;
  const InferenceCost cost = PrivateInferenceCost(*run.model, run.context);
  return metric == PaperMetric::kCommunicationGb ? cost.communication_gb : cost.latency_minutes;
}

double ValueOf(const RunData& run, PaperMetric metric) {
  const RunResult result = ResultOf(run);
  switch (metric) {
    case PaperMetric::kPerplexity: return result.completed ? result.perplexity : kNoFigure;
    case PaperMetric::kQuarterPerplexity: return PerplexityAt(run, 1, 4);
    case PaperMetric::kHalfPerplexity: return PerplexityAt(run, 1, 2);
    case PaperMetric::kTopQuarterPercent: return QuartersPercent(run, result, 3, 3);
    case PaperMetric::kMiddleHalfPercent: return QuartersPercent(run, result, 1, 2);
    case PaperMetric::kBottomQuarterPercent: return QuartersPercent(run, result, 0, 0);
    case PaperMetric::kEarlyLayersShare: return LayersShare(run, result, 0, run.n_layer * 5 / 12);
    case PaperMetric::kDeepLayersShare: return LayersShare(run, result, run.n_layer - run.n_layer / 3, run.n_layer);
    case PaperMetric::kCommunicationGb:
    case PaperMetric::kLatencyMinutes: return CostOf(run, metric);
  }
  return kNoFigure;
}

const PaperFigure* FigureOf(const PaperTable& table, const std::string& row, PaperMetric metric) {
  for (const PaperTableRow& candidate : table.rows) {
    if (candidate.row != row) continue;
    for (const PaperFigure& figure : candidate.figures) {
      if (figure.metric == metric) return &figure;
    }
  }
  return nullptr;
}

using RunsByRow = std::map<std::string, std::vector<const RunData*>>;

ComparedFigure FigureFor(const PaperTable& table, const std::string& row, PaperMetric metric, const RunsByRow& runs) {
  ComparedFigure figure{kNoFigure, kNoFigure, 0, Sign::kNone, false, kNoFigure, kNoFigure, 0, 0, Sign::kNone};
  if (const PaperFigure* printed = FigureOf(table, row, metric)) {
    figure.paper_low = printed->low;
    figure.paper_high = printed->high;
    figure.paper_diverged = std::isnan(printed->low);
  }
  const auto found = runs.find(row);
  if (found == runs.end()) return figure;
  std::vector<double> values;
  for (const RunData* run : found->second) {
    if (const double value = ValueOf(*run, metric); std::isfinite(value)) values.push_back(value);
  }
  figure.n = static_cast<std::int64_t>(values.size());
  if (values.empty()) return figure;
  figure.here = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  if (values.size() < 2) return figure;
  double squares = 0;
  for (double value : values) squares += (value - figure.here) * (value - figure.here);
  figure.here_spread = std::sqrt(squares / static_cast<double>(values.size() - 1));
  return figure;
}

double PrintedMiddle(const ComparedFigure& figure) { return (figure.paper_low + figure.paper_high) / 2; }

// Of a row that the paper orders: its figure, or +infinity where the paper's run diverged.
std::optional<double> PaperOrder(const ComparedFigure& figure) {
  if (figure.paper_diverged) return std::numeric_limits<double>::infinity();
  if (std::isnan(figure.paper_low)) return std::nullopt;
  return PrintedMiddle(figure);
}

Sign PaperSign(double figure, double reference) {
  if (figure == reference) return Sign::kEqual;
  return figure > reference ? Sign::kMore : Sign::kLess;
}

Sign HereSign(const ComparedFigure& figure, const ComparedFigure& reference) {
  const double difference = figure.here - reference.here;
  if (difference == 0) return Sign::kEqual;
  const bool seeds = figure.n >= kSeedsOfAClaim && reference.n >= kSeedsOfAClaim;
  const double error = seeds ? std::sqrt(figure.here_spread * figure.here_spread / static_cast<double>(figure.n) +
                                         reference.here_spread * reference.here_spread / static_cast<double>(reference.n))
                             : 0.0;
  const bool sure = seeds && std::abs(difference) > 2 * error;
  if (difference > 0) return sure ? Sign::kMore : Sign::kMoreUnsure;
  return sure ? Sign::kLess : Sign::kLessUnsure;
}

void RankAndSign(std::size_t reference, std::vector<ComparedFigure>* figures) {
  for (std::size_t i = 0; i < figures->size(); ++i) {
    ComparedFigure& figure = (*figures)[i];
    const auto order = PaperOrder(figure);
    if (order) {
      figure.paper_rank = 1 + std::count_if(figures->begin(), figures->end(), [&](const ComparedFigure& other) {
        return PaperOrder(other) && *PaperOrder(other) < *order;
      });
    }
    if (!std::isnan(figure.here)) {
      figure.here_rank = 1 + std::count_if(figures->begin(), figures->end(), [&](const ComparedFigure& other) { return other.here < figure.here; });
    }
    if (reference >= figures->size() || i == reference) continue;
    const ComparedFigure& against = (*figures)[reference];
    if (order && PaperOrder(against)) figure.paper_sign = PaperSign(*order, *PaperOrder(against));
    if (!std::isnan(figure.here) && !std::isnan(against.here)) figure.here_sign = HereSign(figure, against);
  }
}

void CountPairs(ComparedMetric* metric) {
  const auto& figures = metric->figures;
  for (std::size_t a = 0; a < figures.size(); ++a) {
    for (std::size_t b = a + 1; b < figures.size(); ++b) {
      const auto first = PaperOrder(figures[a]);
      const auto second = PaperOrder(figures[b]);
      if (!first || !second || *first == *second || std::isnan(figures[a].here) || std::isnan(figures[b].here)) continue;
      const Sign here = HereSign(figures[a], figures[b]);
      if (here != Sign::kMore && here != Sign::kLess) ++metric->pairs_unsure;
      else if ((here == Sign::kMore) == (*first > *second)) ++metric->pairs_same;
      else ++metric->pairs_opposite;
    }
  }
}

std::vector<PaperMetric> MetricsOf(const PaperTable& table) {
  std::vector<PaperMetric> metrics;
  for (const PaperTableRow& row : table.rows) {
    for (const PaperFigure& figure : row.figures) {
      if (std::find(metrics.begin(), metrics.end(), figure.metric) == metrics.end()) metrics.push_back(figure.metric);
    }
  }
  return metrics;
}

std::string SizeOf(const RunData& run) {
  return StrCat("L=", run.n_layer, run.model ? StrCat(" d=", run.model->n_embd) : "", " T=", run.context);
}

void AddSize(const PaperTable& table, const SweepData& sweep, PaperComparison* comparison) {
  comparison->full_scale = !sweep.runs.empty();
  for (const RunData& run : sweep.runs) {
    const std::string size = SizeOf(run);
    if (comparison->size.empty()) comparison->size = size;
    else if (comparison->size != size) comparison->size = "several sizes";
    comparison->full_scale &= run.n_layer == table.n_layer && run.context == table.context && run.model && run.model->n_embd == kPaperWidth;
  }
}

void AddRows(const PaperTable& table, const SweepData& sweep, const RunsByRow& runs, PaperComparison* comparison) {
  for (const PaperTableRow& row : table.rows) {
    comparison->rows.push_back(row.row);
    if (!runs.contains(row.row)) comparison->missing.push_back(row.row);
  }
  for (const RunData& run : sweep.runs) {
    const std::string name = RowName(run);
    if (std::find(comparison->rows.begin(), comparison->rows.end(), name) == comparison->rows.end()) comparison->rows.push_back(name);
  }
}

}  // namespace

PaperComparison CompareWithPaper(const PaperTable& table, const SweepData& sweep) {
  PaperComparison comparison;
  comparison.table = table.name;
  comparison.title = table.title;
  comparison.source = table.source;
  comparison.reference = table.reference;
  AddSize(table, sweep, &comparison);
  RunsByRow runs;
  for (const RunData& run : sweep.runs) runs[RowName(run)].push_back(&run);
  AddRows(table, sweep, runs, &comparison);
  const auto reference = std::find(comparison.rows.begin(), comparison.rows.end(), table.reference) - comparison.rows.begin();
  for (PaperMetric metric : MetricsOf(table)) {
    ComparedMetric compared;
    compared.metric = metric;
    for (const std::string& row : comparison.rows) compared.figures.push_back(FigureFor(table, row, metric, runs));
    RankAndSign(static_cast<std::size_t>(reference), &compared.figures);
    CountPairs(&compared);
    comparison.metrics.push_back(std::move(compared));
  }
  return comparison;
}

std::string_view SignText(Sign sign) {
  switch (sign) {
    case Sign::kNone: return "";
    case Sign::kLess: return "-";
    case Sign::kLessUnsure: return "(-)";
    case Sign::kEqual: return "=";
    case Sign::kMoreUnsure: return "(+)";
    case Sign::kMore: return "+";
  }
  return "";
}

}  // namespace entrain::reports
