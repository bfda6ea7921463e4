// What the newest entropies of a run say about a collapse, before a rule has decided anything.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/view/sweep_view.h"

namespace entrain::cli::view {

// Layers of which at least half the heads are below 0.05 U or not finite; none for a run that does not train.
std::vector<std::int64_t> CollapsingLayers(const RunView& run);
// "layers 4-5: 7 of 8 heads below 0.05 U at step 60"; empty when no layer is collapsing.
std::string CollapseWarning(const RunView& run);
// The layer with the lowest mean, e.g. "lowest: layer 5, mean 0.02 U"; empty before the first sample.
std::string LowestLayerText(const RunView& run);

}  // namespace entrain::cli::view
