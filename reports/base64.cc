#include "reports/base64.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace entrain::reports {
namespace {

constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void AppendGroup(const std::uint8_t* bytes, std::size_t n, std::string* text) {
  const std::uint32_t b1 = n > 1 ? bytes[1] : 0;
  const std::uint32_t b2 = n > 2 ? bytes[2] : 0;
  const std::uint32_t group = (std::uint32_t{bytes[0]} << 16) | (b1 << 8) | b2;
  text->push_back(kAlphabet[group >> 18]);
  text->push_back(kAlphabet[(group >> 12) & 63]);
  text->push_back(n > 1 ? kAlphabet[(group >> 6) & 63] : '=');
  text->push_back(n > 2 ? kAlphabet[group & 63] : '=');
}

}  // namespace

std::string Base64(const std::vector<std::uint16_t>& values) {
  std::vector<std::uint8_t> bytes;
  bytes.reserve(values.size() * 2);
  for (std::uint16_t value : values) {
    bytes.push_back(static_cast<std::uint8_t>(value & 0xFF));
    bytes.push_back(static_cast<std::uint8_t>(value >> 8));
  }
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    AppendGroup(bytes.data() + i, std::min<std::size_t>(3, bytes.size() - i), &text);
  }
  return text;
}

std::uint16_t QuantiseShare(double value, double bound) {
  if (std::isnan(value) || !(bound > 0)) return 65535;
  return static_cast<std::uint16_t>(std::lround(std::clamp(value / bound * 65000.0, 0.0, 65534.0)));
}

}  // namespace entrain::reports
