#include "cli/view/collapse_warning.h"

#include <cmath>

#include "base/strings.h"
#include "cli/format.h"
#include "cli/view/heat_strip.h"

namespace entrain::cli::view {
namespace {

bool HasEntropies(const RunView& run) {
  return run.n_layer > 0 && run.n_head > 0 && run.entropy_fraction.size() == static_cast<std::size_t>(run.n_layer * run.n_head);
}

std::int64_t LowHeads(const RunView& run, std::int64_t layer) {
  std::int64_t low = 0;
  for (std::int64_t head = 0; head < run.n_head; ++head) {
    const float value = run.entropy_fraction[static_cast<std::size_t>(layer * run.n_head + head)];
    low += !std::isfinite(value) || value < kLowShare ? 1 : 0;
  }
  return low;
}

}  // namespace

std::vector<std::int64_t> CollapsingLayers(const RunView& run) {
  std::vector<std::int64_t> layers;
  if (run.state != domain::RunState::kRunning || !HasEntropies(run)) return layers;
  for (std::int64_t layer = 0; layer < run.n_layer; ++layer) {
    if (2 * LowHeads(run, layer) >= run.n_head) layers.push_back(layer);
  }
  return layers;
}

std::string CollapseWarning(const RunView& run) {
  const std::vector<std::int64_t> layers = CollapsingLayers(run);
  if (layers.empty()) return "";
  std::int64_t low = 0;
  for (const std::int64_t layer : layers) low += LowHeads(run, layer);
  return StrCat(layers.size() == 1 ? "layer " : "layers ", FormatRanges(layers), ": ", low, " of ",
                static_cast<std::int64_t>(layers.size()) * run.n_head, " heads below 0.05 U at step ", run.step);
}

std::string LowestLayerText(const RunView& run) {
  if (!HasEntropies(run)) return "";
  std::int64_t lowest = 0;
  double lowest_mean = INFINITY;
  for (std::int64_t layer = 0; layer < run.n_layer; ++layer) {
    double sum = 0.0;
    for (std::int64_t head = 0; head < run.n_head; ++head) sum += run.entropy_fraction[static_cast<std::size_t>(layer * run.n_head + head)];
    if (!std::isfinite(sum)) return StrCat("layer ", layer, " is not finite");
    if (sum / static_cast<double>(run.n_head) < lowest_mean) {
      lowest_mean = sum / static_cast<double>(run.n_head);
      lowest = layer;
    }
  }
  return StrCat("lowest: layer ", lowest, ", mean ", FormatFixed(lowest_mean, 3), " U");
}

}  // namespace entrain::cli::view
