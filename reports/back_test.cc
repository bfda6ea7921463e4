#include "reports/back_test.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "reports/number_text.h"

namespace entrain::reports {
namespace {

using policy::backtest::Interval;
using policy::backtest::Outcome;
using policy::backtest::Score;
namespace backtest = policy::backtest;

std::string Fixed(double value, int digits) {
  if (std::isnan(value)) return "-";
  char text[48];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

std::string PercentText(double share) { return std::isnan(share) ? "-" : StrCat(Fixed(100.0 * share, 1), " %"); }
std::string RangeText(const Interval& interval) {
  return StrCat("[", Fixed(100.0 * interval.low, 1), ", ", Fixed(100.0 * interval.high, 1), "] %");
}

struct ScoreLine {
  std::string what;
  std::string value;
  std::string interval;
  std::string target;
  bool met = true;
};

std::vector<ScoreLine> LinesOf(const Score& score) {
  const auto least = [](std::int64_t count) { return StrCat("at least ", count); };
  return {
      {"collapsing runs stopped", StrCat(score.collapsing_stopped, " of ", score.collapsing, "  ", PercentText(score.detection.value)),
       RangeText(score.detection), StrCat("at least ", PercentText(backtest::kTargetDetection)), score.detection.value >= backtest::kTargetDetection},
      {"healthy runs stopped", StrCat(score.healthy_stopped, " of ", score.healthy, "  ", PercentText(score.false_stops.value)),
       RangeText(score.false_stops), "none", score.healthy_stopped == 0},
      {"  of those that dipped", StrCat(score.healthy_dipped_stopped, " of ", score.healthy_dipped), "", "none", score.healthy_dipped_stopped == 0},
      {"median stop after the collapse", StrCat(PercentText(score.median_lag.value), " of the steps"), RangeText(score.median_lag),
       StrCat("at most ", PercentText(backtest::kTargetMedianLag)), score.median_lag.value <= backtest::kTargetMedianLag},
      {"tokens of collapsing runs saved", PercentText(score.saved.value), RangeText(score.saved), ""},
      {"tokens of all runs saved", PercentText(score.saved_of_all.value), RangeText(score.saved_of_all), ""},
      {"collapsing runs", StrCat(score.collapsing, " of ", score.collapsing_variants, " variants"), "",
       StrCat("at least ", backtest::kTargetCollapsingRuns, " of ", backtest::kTargetCollapsingVariants),
       score.collapsing >= backtest::kTargetCollapsingRuns && score.collapsing_variants >= backtest::kTargetCollapsingVariants},
      {"healthy runs", StrCat(score.healthy), "", least(backtest::kTargetHealthyRuns), score.healthy >= backtest::kTargetHealthyRuns},
      {"  with a layer below 0.5 U at some time", StrCat(score.healthy_dipped), "", least(backtest::kTargetDippedRuns),
       score.healthy_dipped >= backtest::kTargetDippedRuns},
  };
}

std::string Padded(std::string text, std::size_t width) {
  if (text.size() < width) text.append(width - text.size(), ' ');
  return text;
}

std::string ScoreTable(const Score& score) {
  std::string text = StrCat(Padded("", 42), Padded("", 26), Padded("95 % interval", 20), "target\n");
  for (const ScoreLine& line : LinesOf(score)) {
    StrAppend(&text, Padded(line.what, 42), Padded(line.value, 26), Padded(line.interval, 20));
    if (!line.target.empty()) StrAppend(&text, Padded(line.target, 18), line.met ? "met" : "NOT MET");
    while (text.back() == ' ') text.pop_back();
    text += "\n";
  }
  return text;
}

std::vector<double> LagsOf(const std::vector<Outcome>& outcomes) {
  std::vector<double> lags;
  for (const Outcome& outcome : outcomes) {
    if (outcome.lag.has_value()) lags.push_back(*outcome.lag);
  }
  std::sort(lags.begin(), lags.end());
  return lags;
}

// Share of the collapsing runs that are stopped by then.
std::string LagPlot(const BackTest& test, const Score& score) {
  const std::vector<double> lags = LagsOf(test.outcomes);
  if (lags.empty()) return "";
  constexpr int kWidth = 50;
  std::string text = "collapsing runs stopped, by steps after the collapse (share of the run's):\n";
  for (const double edge : {0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 1.0}) {
    const auto stopped = static_cast<double>(std::upper_bound(lags.begin(), lags.end(), edge + 1e-12) - lags.begin());
    const double share = stopped / static_cast<double>(score.collapsing);
    StrAppend(&text, "  by ", Padded(PercentText(edge), 8), Padded(std::string(static_cast<std::size_t>(std::lround(share * kWidth)), '#'), kWidth + 1),
              PercentText(share), edge == backtest::kTargetMedianLag ? "  <- half of those stopped must be here" : "", "\n");
  }
  return text;
}

bool IsWrong(const Outcome& outcome) { return outcome.truth.collapsed != outcome.stop.has_value(); }

std::string WrongCases(const BackTest& test) {
  std::string text;
  for (const Outcome& outcome : test.outcomes) {
    if (!IsWrong(outcome)) continue;
    if (outcome.truth.collapsed) {
      StrAppend(&text, "  missed: ", outcome.label, " (", outcome.group, "), collapsed from step ", outcome.truth.onset_step.value_or(0), " of ",
                outcome.last_step, outcome.truth.onset_layer.has_value() ? StrCat(", layer ", *outcome.truth.onset_layer) : "", "\n");
    } else {
      StrAppend(&text, "  stopped in vain: ", outcome.label, " (", outcome.group, ") at step ", outcome.stop->step, " of ", outcome.last_step, ": ",
                outcome.stop->rule, ": ", outcome.stop->explanation, "\n");
    }
  }
  return text.empty() ? "every run judged right\n" : StrCat("judged wrong:\n", text);
}

nlohmann::json IntervalJson(const Interval& interval) {
  const auto number = [](double value) { return std::isnan(value) ? nlohmann::json() : nlohmann::json(value); };
  return {{"value", number(interval.value)}, {"low", number(interval.low)}, {"high", number(interval.high)}};
}

nlohmann::json OutcomeJson(const Outcome& outcome) {
  nlohmann::json json = {{"label", outcome.label},
                         {"group", outcome.group},
                         {"part", outcome.part == backtest::Part::kTest ? "test" : "training"},
                         {"collapsed", outcome.truth.collapsed},
                         {"dipped", outcome.truth.dipped},
                         {"onset_step", nullptr},
                         {"last_step", outcome.last_step},
                         {"stop", nullptr},
                         {"lag", nullptr},
                         {"saved", outcome.saved}};
  if (outcome.truth.onset_step.has_value()) json["onset_step"] = *outcome.truth.onset_step;
  if (outcome.lag.has_value()) json["lag"] = *outcome.lag;
  if (outcome.stop.has_value()) {
    json["stop"] = {{"step", outcome.stop->step}, {"rule", outcome.stop->rule}, {"explanation", outcome.stop->explanation}};
  }
  return json;
}

// --- SVG ---

constexpr int kRowHeight = 7;
constexpr int kLeft = 250;
constexpr int kPlotWidth = 560;
constexpr int kTop = 58;

std::string Escape(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (c == '&') out += "&amp;";
    else out += c;
  }
  return out;
}

std::string SvgRow(const Outcome& outcome, int y) {
  const auto x_of = [&](std::int64_t step) {
    return Fixed(kLeft + kPlotWidth * static_cast<double>(step) / static_cast<double>(std::max<std::int64_t>(1, outcome.last_step)), 1);
  };
  const char* colour = outcome.truth.collapsed ? "#d9a0a0" : "#a9c7a9";
  const std::int64_t end = outcome.stop.has_value() ? outcome.stop->step : outcome.last_step;
  std::string row = StrCat("<g><title>", Escape(outcome.label), "</title><rect x=\"", kLeft, "\" y=\"", y, "\" width=\"",
                           Fixed(kPlotWidth * static_cast<double>(end) / static_cast<double>(std::max<std::int64_t>(1, outcome.last_step)), 1),
                           "\" height=\"5\" fill=\"", colour, "\"/>");
  if (outcome.truth.onset_step.has_value()) {
    StrAppend(&row, "<circle cx=\"", x_of(*outcome.truth.onset_step), "\" cy=\"", y + 2, "\" r=\"2.5\" fill=\"#8a1c1c\"/>");
  }
  if (outcome.stop.has_value()) {
    StrAppend(&row, "<rect x=\"", x_of(outcome.stop->step), "\" y=\"", y - 1, "\" width=\"2\" height=\"7\" fill=\"", IsWrong(outcome) ? "#d0021b" : "#222", "\"/>");
  }
  if (IsWrong(outcome)) {
    StrAppend(&row, "<text x=\"", kLeft - 6, "\" y=\"", y + 6, "\" text-anchor=\"end\" fill=\"#d0021b\">", Escape(outcome.label), "</text>");
  }
  return row + "</g>\n";
}

// Collapsing runs first, by when they collapse; then healthy ones.
std::vector<const Outcome*> InPlotOrder(const BackTest& test) {
  std::vector<const Outcome*> order;
  for (const Outcome& outcome : test.outcomes) order.push_back(&outcome);
  std::stable_sort(order.begin(), order.end(), [](const Outcome* a, const Outcome* b) {
    if (a->truth.collapsed != b->truth.collapsed) return a->truth.collapsed;
    return a->truth.onset_step.value_or(0) < b->truth.onset_step.value_or(0);
  });
  return order;
}

}  // namespace

std::string BackTestText(const BackTest& test) {
  const Score score = backtest::ScoreOf(test.outcomes);
  return StrCat(test.policy, " on ", test.outcomes.size(), " runs (", test.part, ") of ", test.traces, "\n\n", ScoreTable(score), "\n",
                LagPlot(test, score), "\n", WrongCases(test));
}

std::string BackTestJson(const BackTest& test) {
  const Score score = backtest::ScoreOf(test.outcomes);
  nlohmann::json runs = nlohmann::json::array();
  for (const Outcome& outcome : test.outcomes) runs.push_back(OutcomeJson(outcome));
  const nlohmann::json json = {{"policy", test.policy},
                               {"traces", test.traces},
                               {"part", test.part},
                               {"collapsing", score.collapsing},
                               {"collapsing_stopped", score.collapsing_stopped},
                               {"collapsing_variants", score.collapsing_variants},
                               {"healthy", score.healthy},
                               {"healthy_stopped", score.healthy_stopped},
                               {"healthy_dipped", score.healthy_dipped},
                               {"healthy_dipped_stopped", score.healthy_dipped_stopped},
                               {"detection", IntervalJson(score.detection)},
                               {"false_stops", IntervalJson(score.false_stops)},
                               {"median_lag", IntervalJson(score.median_lag)},
                               {"saved", IntervalJson(score.saved)},
                               {"saved_of_all", IntervalJson(score.saved_of_all)},
                               {"meets_targets", backtest::MeetsTargets(score)},
                               {"runs", std::move(runs)}};
  return json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string BackTestSvg(const BackTest& test) {
  const std::vector<const Outcome*> order = InPlotOrder(test);
  const int height = kTop + kRowHeight * static_cast<int>(order.size()) + 40;
  std::string svg = StrCat("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 ", kLeft + kPlotWidth + 30, " ", height,
                           "\" font-family=\"sans-serif\" font-size=\"9\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
                           "<text x=\"10\" y=\"20\" font-size=\"14\">", Escape(test.policy), " on the ", Escape(test.part), " runs of ",
                           Escape(test.traces), "</text>\n<text x=\"10\" y=\"38\" font-size=\"11\">each line a run, as far as it trains; red: collapses in the "
                           "end (dot: first layer gone), green: healthy; bar: stopped</text>\n");
  int y = kTop;
  for (const Outcome* outcome : order) {
    svg += SvgRow(*outcome, y);
    y += kRowHeight;
  }
  for (const int percent : {0, 25, 50, 75, 100}) {
    const int x = kLeft + kPlotWidth * percent / 100;
    StrAppend(&svg, "<line x1=\"", x, "\" y1=\"", kTop - 6, "\" x2=\"", x, "\" y2=\"", y, "\" stroke=\"#bbb\" stroke-width=\"0.5\"/><text x=\"", x,
              "\" y=\"", y + 14, "\" text-anchor=\"middle\">", percent, " %</text>\n");
  }
  StrAppend(&svg, "<text x=\"", kLeft + kPlotWidth / 2, "\" y=\"", y + 28, "\" text-anchor=\"middle\">share of the run's steps</text>\n</svg>\n");
  return svg;
}

}  // namespace entrain::reports
