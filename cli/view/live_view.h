// The live view of a sweep as text: a pure function of what is known, the size of the terminal and its colours.
#pragma once

#include <string>
#include <vector>

#include "cli/colour.h"
#include "cli/view/sweep_view.h"

namespace entrain::cli::view {

// At most `height` lines, none wider than `width` columns. Runs that train come first when not all fit, then those that ended badly;
// what is left out is counted in a last line.
std::vector<std::string> RenderLive(const SweepView& sweep, int width, int height, Colour colour);

// A bar of `width` columns, `share` in [0, 1] of it full.
std::string Bar(double share, int width, Colour colour, Style style);

}  // namespace entrain::cli::view
