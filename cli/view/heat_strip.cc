#include "cli/view/heat_strip.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace entrain::cli::view {
namespace {

constexpr std::string_view kRamp = " .:-=+*#%@";

// How a layers x heads matrix is folded to fit: every group of layers gets `cells` characters.
struct Fold {
  std::int64_t groups = 0;       // of layers
  std::int64_t rows = 0;         // values of one group, after folding heads
  int cells = 0;                 // characters of one group
  bool separated = false;        // one column between groups
  int Width() const {
    return static_cast<int>(groups) * cells + (separated ? static_cast<int>(groups) - 1 : 0);
  }
};

std::int64_t CeilDiv(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

Fold MakeFold(std::int64_t n_layer, std::int64_t n_head, Colour colour, int max_width) {
  const std::int64_t heads_per_cell = colour == Colour::kNone ? 1 : 2;
  const auto fold = [&](std::int64_t groups, std::int64_t cells, bool separated) {
    return Fold{groups, std::min(n_head, cells * heads_per_cell), static_cast<int>(cells), separated};
  };
  Fold best = fold(n_layer, CeilDiv(n_head, heads_per_cell), true);
  if (best.Width() <= max_width) return best;
  best.separated = false;
  if (best.Width() <= max_width && colour != Colour::kNone) return best;
  for (std::int64_t cells = best.cells; cells >= 1; --cells) {
    best = fold(n_layer, cells, cells > 1);
    if (best.Width() <= max_width) return best;
  }
  if (max_width < 4) return Fold{};
  return fold(std::min<std::int64_t>(n_layer, max_width), 1, false);
}

// The worst value of head cell `row` in layer group `group`.
float FoldedValue(const std::vector<float>& values, std::int64_t n_layer, std::int64_t n_head, const Fold& fold,
                  std::int64_t group, std::int64_t row) {
  return WorstOf(values, n_head, {group * n_layer / fold.groups, (group + 1) * n_layer / fold.groups},
                 {row * n_head / fold.rows, (row + 1) * n_head / fold.rows});
}

Rgb Between(const Rgb& low, const Rgb& high, float share) {
  const auto mix = [share](int a, int b) { return a + static_cast<int>(std::lround(share * static_cast<float>(b - a))); };
  return Rgb{mix(low.red, high.red), mix(low.green, high.green), mix(low.blue, high.blue)};
}

}  // namespace

float WorstOf(const std::vector<float>& values, std::int64_t n_head, HalfOpen layers, HalfOpen heads) {
  float worst = INFINITY;
  for (std::int64_t layer = layers.begin; layer < layers.end; ++layer) {
    for (std::int64_t head = heads.begin; head < heads.end; ++head) {
      const float value = values[static_cast<std::size_t>(layer * n_head + head)];
      if (!std::isfinite(value)) return value;
      worst = std::min(worst, value);
    }
  }
  return worst;
}

char HeatCharacter(float fraction) {
  if (!std::isfinite(fraction)) return '?';
  if (fraction < kLowShare) return '!';
  return kRamp[static_cast<std::size_t>(std::clamp(static_cast<int>(fraction * 10.0f), 0, 9))];
}

Rgb HeatColour(float fraction) {
  static constexpr std::array<Rgb, 5> kStops = {Rgb{38, 36, 92}, Rgb{44, 92, 140}, Rgb{38, 146, 128}, Rgb{132, 200, 80},
                                                Rgb{248, 240, 140}};
  if (!std::isfinite(fraction)) return Rgb{220, 60, 200};
  if (fraction < kLowShare) return Rgb{225, 40, 40};
  const float position = std::clamp(fraction, 0.0f, 1.0f) * static_cast<float>(kStops.size() - 1);
  const std::size_t stop = std::min(static_cast<std::size_t>(position), kStops.size() - 2);
  return Between(kStops[stop], kStops[stop + 1], position - static_cast<float>(stop));
}

int HeatStripWidth(std::int64_t n_layer, std::int64_t n_head, Colour colour, int max_width) {
  if (n_layer <= 0 || n_head <= 0) return 0;
  return MakeFold(n_layer, n_head, colour, max_width).Width();
}

std::string HeatStrip(const std::vector<float>& entropy_fraction, std::int64_t n_layer, std::int64_t n_head, Colour colour,
                      int max_width) {
  if (n_layer <= 0 || n_head <= 0 || entropy_fraction.size() != static_cast<std::size_t>(n_layer * n_head)) return "";
  const Fold fold = MakeFold(n_layer, n_head, colour, max_width);
  std::string strip;
  for (std::int64_t group = 0; group < fold.groups; ++group) {
    if (fold.separated && group > 0) strip += colour == Colour::kNone ? "|" : " ";
    const auto value = [&](std::int64_t row) { return FoldedValue(entropy_fraction, n_layer, n_head, fold, group, row); };
    for (int cell = 0; cell < fold.cells; ++cell) {
      if (colour == Colour::kNone) {
        strip += HeatCharacter(value(cell));
        continue;
      }
      const std::int64_t upper = 2 * cell;
      const std::int64_t lower = std::min(upper + 1, fold.rows - 1);
      strip += Paint(colour, HeatColour(value(upper)), HeatColour(value(lower)), "▀");
    }
  }
  return strip;
}

}  // namespace entrain::cli::view
