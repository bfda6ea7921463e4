#include <algorithm>
#include <array>
#include <cmath>

#include "base/strings.h"
#include "reports/number_text.h"
#include "reports/paper.h"
#include "reports/report_data.h"

namespace entrain::reports {
namespace {

using PaperCells = std::array<std::string, 8>;

constexpr std::size_t kMaxRowWidth = 36;

int DigitsOf(PaperMetric metric) {
  switch (metric) {
    case PaperMetric::kTopQuarterPercent:
    case PaperMetric::kMiddleHalfPercent:
    case PaperMetric::kBottomQuarterPercent: return 1;
    default: return 2;
  }
}

std::string PrintedText(const ComparedFigure& figure, int digits) {
  if (figure.paper_diverged) return "NaN";
  if (figure.paper_low == figure.paper_high || std::isnan(figure.paper_low)) return FixedText(figure.paper_low, digits);
  return StrCat(FixedText(figure.paper_low, digits), "..", FixedText(figure.paper_high, digits));
}

std::string HereText(const ComparedFigure& figure, int digits) {
  const auto number = [digits](double value) { return digits == 2 ? PerplexityText(value) : FixedText(value, digits); };
  if (std::isnan(figure.here_spread)) return number(figure.here);
  return StrCat(number(figure.here), " ± ", number(figure.here_spread));
}

std::string RankText(std::int64_t rank) { return rank == 0 ? "" : std::to_string(rank); }

PaperCells FigureCells(const std::string& row, const ComparedFigure& figure, int digits) {
  return {CutText(row, kMaxRowWidth),
          PrintedText(figure, digits),
          RankText(figure.paper_rank),
          std::string(SignText(figure.paper_sign)),
          HereText(figure, digits),
          RankText(figure.here_rank),
          std::string(SignText(figure.here_sign)),
          std::to_string(figure.n)};
}

std::string PaddedCell(const std::string& text, std::size_t width, bool left) {
  const std::string fill(width - std::min(width, DisplayWidth(text)), ' ');
  return left ? text + fill : fill + text;
}

std::string PairsText(const ComparedMetric& metric) {
  const std::int64_t pairs = metric.pairs_same + metric.pairs_opposite + metric.pairs_unsure;
  if (pairs == 0) return "";
  return StrCat("Of ", pairs, pairs == 1 ? " pair" : " pairs", " that the paper orders, here ", metric.pairs_same, " agree, ", metric.pairs_opposite,
                " are opposite, ", metric.pairs_unsure, " are not told apart.\n");
}

std::string MetricText(const PaperComparison& comparison, const ComparedMetric& metric) {
  std::vector<PaperCells> lines = {{"", "paper", "rank", "sign", "here", "rank", "sign", "n"}};
  for (std::size_t i = 0; i < comparison.rows.size(); ++i) {
    lines.push_back(FigureCells(comparison.rows[i], metric.figures[i], DigitsOf(metric.metric)));
  }
  std::array<std::size_t, 8> widths{};
  for (const PaperCells& cells : lines) {
    for (std::size_t i = 0; i < cells.size(); ++i) widths[i] = std::max(widths[i], DisplayWidth(cells[i]));
  }
  std::string text = StrCat("\n", MetricName(metric.metric), "\n");
  for (const PaperCells& cells : lines) {
    std::string line;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      StrAppend(&line, i == 0 ? "  " : i == 1 || i == 4 ? "   " : "  ", PaddedCell(cells[i], widths[i], i == 0));
    }
    StrAppend(&text, line, "\n");
  }
  return text + PairsText(metric);
}

nlohmann::json OptionalNumber(double value) { return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(nullptr); }

nlohmann::json FigureJson(const std::string& row, const ComparedFigure& figure) {
  return {{"row", row},
          {"paper_low", OptionalNumber(figure.paper_low)},
          {"paper_high", OptionalNumber(figure.paper_high)},
          {"paper_diverged", figure.paper_diverged},
          {"paper_rank", figure.paper_rank},
          {"paper_sign", SignText(figure.paper_sign)},
          {"here", OptionalNumber(figure.here)},
          {"here_spread", OptionalNumber(figure.here_spread)},
          {"here_rank", figure.here_rank},
          {"here_sign", SignText(figure.here_sign)},
          {"n", figure.n}};
}

}  // namespace

std::string PaperText(const PaperComparison& comparison) {
  std::string text = StrCat(comparison.title, "\npaper: arXiv 2501.03489, ", comparison.source, "\nhere:  ", comparison.size,
                            comparison.full_scale ? ", the paper's size\n"
                                                  : "; another size than the paper's: compare ranks and signs, not figures\n");
  StrAppend(&text, "signs: against ", comparison.reference, "; in brackets: less than 3 seeds or two standard errors\n",
            "ranks: 1 is the smallest\n");
  for (const ComparedMetric& metric : comparison.metrics) text += MetricText(comparison, metric);
  std::string missing;
  for (const std::string& row : comparison.missing) StrAppend(&missing, "  ", row, "\n");
  if (!missing.empty()) StrAppend(&text, "\nnot in this sweep:\n", missing);
  return text;
}

nlohmann::json PaperComparisonJson(const PaperComparison& comparison) {
  nlohmann::json metrics = nlohmann::json::array();
  for (const ComparedMetric& metric : comparison.metrics) {
    nlohmann::json rows = nlohmann::json::array();
    for (std::size_t i = 0; i < comparison.rows.size(); ++i) rows.push_back(FigureJson(comparison.rows[i], metric.figures[i]));
    metrics.push_back({{"metric", MetricName(metric.metric)},
                       {"rows", rows},
                       {"pairs_same", metric.pairs_same},
                       {"pairs_opposite", metric.pairs_opposite},
                       {"pairs_unsure", metric.pairs_unsure}});
  }
  return {{"table", comparison.table},
          {"title", comparison.title},
          {"source", "arXiv 2501.03489, " + comparison.source},
          {"reference", comparison.reference},
          {"size", comparison.size},
          {"full_scale", comparison.full_scale},
          {"metrics", metrics},
          {"missing", comparison.missing}};
}

std::string PaperJson(const PaperComparison& comparison) { return DumpJson(PaperComparisonJson(comparison), 2) + "\n"; }

}  // namespace entrain::reports
