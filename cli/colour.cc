#include "cli/colour.h"

#include <unistd.h>

#include <cstdlib>

#include "base/strings.h"

namespace entrain::cli {
namespace {

constexpr std::string_view kReset = "\x1b[0m";

std::string_view CodeOf(Style style) {
  switch (style) {
    case Style::kPlain: return "";
    case Style::kBold: return "\x1b[1m";
    case Style::kDim: return "\x1b[2m";
    case Style::kGreen: return "\x1b[32m";
    case Style::kYellow: return "\x1b[33m";
    case Style::kRed: return "\x1b[31m";
    case Style::kBlue: return "\x1b[34m";
    case Style::kMagenta: return "\x1b[35m";
    case Style::kCyan: return "\x1b[36m";
  }
  return "";
}

// The nearest colour of the 6 x 6 x 6 cube.
int CubeIndex(const Rgb& rgb) {
  const auto level = [](int value) { return value < 48 ? 0 : value < 115 ? 1 : (value - 35) / 40; };
  return 16 + 36 * level(rgb.red) + 6 * level(rgb.green) + level(rgb.blue);
}

// `layer` is 38 for the foreground, 48 for the background.
std::string Code(Colour colour, int layer, const Rgb& rgb) {
  if (colour == Colour::kTrue) return StrCat("\x1b[", layer, ";2;", rgb.red, ";", rgb.green, ";", rgb.blue, "m");
  return StrCat("\x1b[", layer, ";5;", CubeIndex(rgb), "m");
}

bool Mentions(const char* variable, std::string_view word) {
  const char* value = std::getenv(variable);
  return value != nullptr && std::string_view(value).find(word) != std::string_view::npos;
}

}  // namespace

std::string Paint(Colour colour, Style style, std::string_view text) {
  if (colour == Colour::kNone || style == Style::kPlain || text.empty()) return std::string(text);
  return StrCat(CodeOf(style), text, kReset);
}

std::string Paint(Colour colour, const Rgb& foreground, std::string_view text) {
  if (colour == Colour::kNone) return std::string(text);
  return StrCat(Code(colour, 38, foreground), text, kReset);
}

std::string Paint(Colour colour, const Rgb& foreground, const Rgb& background, std::string_view text) {
  if (colour == Colour::kNone) return std::string(text);
  return StrCat(Code(colour, 38, foreground), Code(colour, 48, background), text, kReset);
}

Colour ColourOf(int fd) {
  const char* no_color = std::getenv("NO_COLOR");
  if ((no_color != nullptr && *no_color != '\0') || ::isatty(fd) == 0 || Mentions("TERM", "dumb")) return Colour::kNone;
  const bool true_colour = Mentions("COLORTERM", "truecolor") || Mentions("COLORTERM", "24bit");
  return true_colour ? Colour::kTrue : Colour::k256;
}

}  // namespace entrain::cli
