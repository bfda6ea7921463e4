// Arrays of numbers as text inside the report.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace entrain::reports {

// Base64 (RFC 4648, with padding) of the values' little-endian bytes.
std::string Base64(const std::vector<std::uint16_t>& values);

// round(value / bound * 65000), clamped; 65535 is NaN.
std::uint16_t QuantiseShare(double value, double bound);

}  // namespace entrain::reports
