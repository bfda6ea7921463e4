#include "reports/number_text.h"

#include <cmath>
#include <cstdio>

namespace entrain::reports {
namespace {

std::string Format(const char* format, int digits, double value) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, format, digits, value);
  return buffer;
}

}  // namespace

std::string FixedText(double value, int digits) {
  if (std::isnan(value)) return "-";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return std::abs(value) >= 1e15 ? Format("%.*e", digits, value) : Format("%.*f", digits, value);
}

std::string PerplexityText(double value) {
  return std::isfinite(value) && value >= 1e5 ? Format("%.*e", 1, value) : FixedText(value, 2);
}

std::string SpreadText(double mean, double spread) {
  if (std::isnan(mean) || std::isnan(spread)) return PerplexityText(mean);
  return PerplexityText(mean) + " ± " + PerplexityText(spread);
}

std::string CountText(double value) {
  if (std::isnan(value)) return "-";
  if (std::abs(value) >= 1e9) return FixedText(value / 1e9, 2) + "G";
  if (std::abs(value) >= 1e6) return FixedText(value / 1e6, 2) + "M";
  if (std::abs(value) >= 1e3) return FixedText(value / 1e3, 1) + "k";
  return FixedText(value, 0);
}

std::size_t DisplayWidth(std::string_view text) {
  std::size_t width = 0;
  for (char c : text) width += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return width;
}

std::string CutText(const std::string& text, std::size_t width) {
  if (DisplayWidth(text) <= width) return text;
  std::string cut;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool begins = (static_cast<unsigned char>(text[i]) & 0xC0) != 0x80;
    if (begins && DisplayWidth(cut) + 1 == width) break;
    cut += text[i];
  }
  return cut + "…";
}

}  // namespace entrain::reports
