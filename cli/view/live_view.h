// The live view of a sweep as text: a pure function of what is known, the size of the terminal and its colours.
#pragma once

#include <string>
#include <vector>

#include "cli/colour.h"
#include "cli/view/run_rows.h"
#include "cli/view/sweep_view.h"

namespace entrain::cli::view {

// At most `height` lines, none wider than `width` columns. Runs that train come first when not all fit, then those that ended badly;
// what is left out is counted in a last line.
std::vector<std::string> RenderLive(const SweepView& sweep, int width, int height, Colour colour);

}  // namespace entrain::cli::view
