#include "cli/view/sparkline.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

namespace entrain::cli::view {
namespace {

constexpr std::array<std::string_view, 8> kBlocks = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
constexpr std::string_view kCurveRamp = "_.:-=+*#";

}  // namespace

std::string Sparkline(const std::vector<double>& values, Colour colour) {
  double low = INFINITY;
  double high = -INFINITY;
  for (const double value : values) {
    if (!std::isfinite(value)) continue;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  std::string line;
  for (const double value : values) {
    if (!std::isfinite(value)) {
      line += Paint(colour, Style::kRed, "!");
      continue;
    }
    const double share = high > low ? (value - low) / (high - low) : 0.5;
    const auto level = static_cast<std::size_t>(std::clamp(share * 8.0, 0.0, 7.0));
    if (colour == Colour::kNone) line += kCurveRamp[level];
    else line += kBlocks[level];
  }
  return line;
}

}  // namespace entrain::cli::view
