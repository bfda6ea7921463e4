// The entropy of every head of a run in one short line: layers from left (first) to right (deepest), heads inside a layer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/colour.h"

namespace entrain::cli::view {

// Heads below this share of U are drawn as collapsed: the default limit of the collapse rule.
inline constexpr float kLowShare = 0.05f;

// Columns that HeatStrip uses for a model when it may have `max_width`; 0 when nothing useful fits.
int HeatStripWidth(std::int64_t n_layer, std::int64_t n_head, Colour colour, int max_width);

// With colour every character is two heads (upper and lower half); without, one head from the ramp " .:-=+*#%@" by tenths of U, '!'
// below the default collapse limit of 0.05 U, and '?' for a value that is not finite. When a layer's heads do not fit, neighbours
// share a cell that shows the lowest of them; when the layers do not fit, neighbouring layers share one.
std::string HeatStrip(const std::vector<float>& entropy_fraction, std::int64_t n_layer, std::int64_t n_head, Colour colour,
                      int max_width);

// A head without colour, as in HeatStrip.
char HeatCharacter(float fraction);
struct HalfOpen {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};
// The lowest entropy of these heads of these layers; the first that is not finite wins, since it is what people must see.
float WorstOf(const std::vector<float>& values, std::int64_t n_head, HalfOpen layers, HalfOpen heads);

// The colour of an entropy fraction: red below 0.05, then dark blue over green to light yellow at 1.
Rgb HeatColour(float fraction);

}  // namespace entrain::cli::view
