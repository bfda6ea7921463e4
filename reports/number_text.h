// Numbers as people read them; "-" for NaN.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace entrain::reports {

std::string FixedText(double value, int digits);
// Two decimals, or powers of ten from 100,000 on.
std::string PerplexityText(double value);
// "8.21 ± 0.03"; no spread when it is NaN.
std::string SpreadText(double mean, double spread);
// "950", "12.3k", "4.56M".
std::string CountText(double value);

// Characters as a terminal shows them: UTF-8 sequences count once.
std::size_t DisplayWidth(std::string_view text);
// At most `width` characters, cut between two and marked with "…".
std::string CutText(const std::string& text, std::size_t width);

}  // namespace entrain::reports
