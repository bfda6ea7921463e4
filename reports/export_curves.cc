#include <algorithm>
#include <cmath>
#include <limits>

#include "base/strings.h"
#include "domain/model_config.h"
#include "reports/exports.h"

namespace entrain::reports {
namespace {

constexpr int kPanelWidth = 420;
constexpr int kPanelHeight = 260;
constexpr int kMargin = 46;
constexpr int kHalfWindow = 4;
constexpr const char* kColours[] = {"#1f6fb4", "#c8452d", "#2e8b57", "#8a5fbf", "#b8860b", "#4a4a4a", "#d1579b", "#17868f"};

std::string OneDecimal(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.1f", value);
  return text;
}

std::string XmlText(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '<') out += "&lt;";
    else if (c == '&') out += "&amp;";
    else out += c;
  }
  return out;
}

using Points = std::vector<std::pair<double, double>>;

Points SmoothedLoss(const RunData& run) {
  Points points;
  const auto size = static_cast<std::ptrdiff_t>(run.samples.size());
  for (std::ptrdiff_t i = 0; i < size; ++i) {
    std::vector<double> window;
    for (std::ptrdiff_t j = std::max<std::ptrdiff_t>(0, i - kHalfWindow); j <= std::min(size - 1, i + kHalfWindow); ++j) {
      const double loss = run.samples[static_cast<std::size_t>(j)].loss;
      if (std::isfinite(loss)) window.push_back(loss);
    }
    if (window.empty()) continue;
    std::nth_element(window.begin(), window.begin() + static_cast<std::ptrdiff_t>(window.size() / 2), window.end());
    points.emplace_back(static_cast<double>(run.samples[static_cast<std::size_t>(i)].step), window[window.size() / 2]);
  }
  return points;
}

// The layer with the smallest mean, as a share of U.
Points LowestLayer(const RunData& run) {
  Points points;
  const double bound_nats = domain::EntropyBoundNats(run.context);
  for (const domain::EntropySample& sample : run.samples) {
    double lowest = std::numeric_limits<double>::infinity();
    for (std::int64_t layer = 0; layer < run.n_layer; ++layer) {
      double sum = 0.0;
      for (std::int64_t head = 0; head < run.n_head; ++head) {
        const auto index = static_cast<std::size_t>(layer * run.n_head + head);
        sum += index < sample.entropy_nats.size() ? static_cast<double>(sample.entropy_nats[index]) : 0.0;
      }
      lowest = std::min(lowest, sum / static_cast<double>(run.n_head) / bound_nats);
    }
    if (std::isfinite(lowest)) points.emplace_back(static_cast<double>(sample.step), lowest);
  }
  return points;
}

struct Panel {
  std::string title;
  int left = 0;
  double last_step = 1.0;
  double low = 0.0;
  double high = 1.0;

  std::string X(double step) const { return OneDecimal(left + kPanelWidth * step / last_step); }
  std::string Y(double value) const {
    return OneDecimal(kMargin + kPanelHeight * (1.0 - (std::clamp(value, low, high) - low) / std::max(1e-9, high - low)));
  }

  std::string Frame() const {
    std::string svg = StrCat("<text x=\"", left, "\" y=\"", kMargin - 12, "\" font-size=\"13\">", title, "</text>\n<rect x=\"", left, "\" y=\"", kMargin,
                             "\" width=\"", kPanelWidth, "\" height=\"", kPanelHeight, "\" fill=\"none\" stroke=\"#888\"/>\n");
    for (int i = 0; i <= 4; ++i) {
      const double value = low + (high - low) * i / 4;
      char text[32];
      std::snprintf(text, sizeof text, "%.2f", value);
      StrAppend(&svg, "<text x=\"", left - 5, "\" y=\"", Y(value), "\" text-anchor=\"end\">", text, "</text><text x=\"", X(last_step * i / 4), "\" y=\"",
                kMargin + kPanelHeight + 15, "\" text-anchor=\"middle\">", std::llround(last_step * i / 4), "</text>\n");
    }
    return svg;
  }

  std::string Line(const Points& points, const char* colour, double stop) const {
    std::string path;
    std::string cross;
    for (const auto& [step, value] : points) {
      StrAppend(&path, path.empty() ? "" : " ", X(step), ",", Y(value));
      if (stop > 0.0 && step <= stop) cross = StrCat("<text x=\"", X(step), "\" y=\"", Y(value), "\" fill=\"", colour, "\" font-size=\"16\" text-anchor=\"middle\" dy=\"5\">x</text>\n");
    }
    return StrCat("<polyline fill=\"none\" stroke=\"", colour, "\" stroke-width=\"1.3\" points=\"", path, "\"/>\n", cross);
  }
};

}  // namespace

std::string CurvesSvg(const SweepData& sweep) {
  Panel loss{"training loss (median of 9 steps), nats", kMargin, 1.0, std::numeric_limits<double>::infinity(), 0.0};
  Panel entropy{"lowest layer's mean entropy, share of U", 3 * kMargin + kPanelWidth, 1.0, 0.0, 1.0};
  std::vector<Points> losses;
  for (const RunData& run : sweep.runs) {
    losses.push_back(SmoothedLoss(run));
    loss.last_step = std::max(loss.last_step, static_cast<double>(run.steps));
    for (const auto& [step, value] : losses.back()) {
      loss.low = std::min(loss.low, value);
      if (step > 0.05 * static_cast<double>(run.steps)) loss.high = std::max(loss.high, value);
    }
  }
  entropy.last_step = loss.last_step;
  if (!(loss.high > loss.low)) loss.high = loss.low + 1.0;
  const int height = kMargin + kPanelHeight + 34 + 14 * static_cast<int>(sweep.runs.size()) + 10;
  std::string svg = StrCat("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 ", 4 * kMargin + 2 * kPanelWidth, " ", height,
                           "\" font-family=\"sans-serif\" font-size=\"10\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n", loss.Frame(), entropy.Frame());
  int y = kMargin + kPanelHeight + 38;
  for (std::size_t i = 0; i < sweep.runs.size(); ++i) {
    const RunData& run = sweep.runs[i];
    const char* colour = kColours[i % std::size(kColours)];
    const double stop = run.verdict.reason != domain::HaltReason::kNone ? static_cast<double>(run.verdict.step) : 0.0;
    StrAppend(&svg, loss.Line(losses[i], colour, stop), entropy.Line(LowestLayer(run), colour, stop));
    StrAppend(&svg, "<text x=\"", kMargin, "\" y=\"", y, "\" fill=\"", colour, "\">", XmlText(run.label),
              stop > 0.0 ? StrCat(": stopped at step ", run.verdict.step, " by ", XmlText(run.verdict.rule)) : "",
              run.rescue_of.empty() ? "" : StrCat(": goes on from step ", run.fork_step), "</text>\n");
    y += 14;
  }
  return svg + "</svg>\n";
}

}  // namespace entrain::reports
