// The entropy of every head of a run as a small map: rows are layers from the first to the deepest, columns are heads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/colour.h"

namespace entrain::cli::view {

// At most `max_height` lines of at most `max_width` columns, each beginning with its layers' numbers. With colour a line holds one layer, or
// two (upper and lower half) when there is not room for all; without, one character of HeatCharacter a head. What does not fit even so
// shares a cell that shows the lowest. Empty when nothing useful fits or the values are not [n_layer * n_head].
std::vector<std::string> HeatMap(const std::vector<float>& entropy_fraction, std::int64_t n_layer, std::int64_t n_head, Colour colour,
                                 int max_width, int max_height);

}  // namespace entrain::cli::view
