// Colour on a terminal: what it can show, and text painted with it.
#pragma once

#include <string>
#include <string_view>

namespace entrain::cli {

enum class Colour { kNone, k256, kTrue };

enum class Style { kPlain, kBold, kDim, kGreen, kYellow, kRed, kBlue, kMagenta, kCyan };

struct Rgb {
  int red = 0;
  int green = 0;
  int blue = 0;
};

std::string Paint(Colour colour, Style style, std::string_view text);
// Foreground, and foreground with background.
std::string Paint(Colour colour, const Rgb& foreground, std::string_view text);
std::string Paint(Colour colour, const Rgb& foreground, const Rgb& background, std::string_view text);

// What the descriptor's terminal shows, from the environment's NO_COLOR, TERM and COLORTERM; kNone when it is no terminal.
Colour ColourOf(int fd);

}  // namespace entrain::cli
