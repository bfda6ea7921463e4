// Numbers as a verdict's sentence shows them.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace entrain::policy {

// At most three decimals; "nan", "inf", "-inf".
inline std::string Decimal(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char text[48];
  std::snprintf(text, sizeof text, "%.3f", value);
  return text;
}

// Without trailing zeros: 0.05, 3.
inline std::string Short(double value) {
  char text[48];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

// "12.5 %".
inline std::string Percent(double share) { return Short(100.0 * share) + " %"; }

// "75", "75 and 125", "75, 125 and 175".
inline std::string List(const std::vector<std::string>& items) {
  std::string text;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0) text += i + 1 == items.size() ? " and " : ", ";
    text += items[i];
  }
  return text;
}

}  // namespace entrain::policy
