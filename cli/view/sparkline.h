// A series in one line of text.
#pragma once

#include <string>
#include <vector>

#include "cli/colour.h"

namespace entrain::cli::view {

// One character a value from its lowest to its highest: eighths of a block, without colour the ramp "_.:-=+*#". '!' is a value that is
// not finite.
std::string Sparkline(const std::vector<double>& values, Colour colour);

}  // namespace entrain::cli::view
