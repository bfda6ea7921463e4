// Values as people read them, and text that fits its place on a terminal.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace entrain::cli {

// "48s", "3m05s", "2h14m", "3d04h"; "-" for a negative (unknown) duration.
std::string FormatDuration(std::int64_t ms);
// "512", "5.2k", "1.30M", "2.04G".
std::string FormatCount(double value);
// "512 B", "1.2 KiB", "3.40 GiB".
std::string FormatBytes(std::int64_t bytes);
// Fixed digits; "nan", "inf" and "-inf" as such.
std::string FormatFixed(double value, int digits);
// exp(loss) with about four significant digits; "-" when there was no evaluation (loss 0).
std::string FormatPerplexity(double eval_loss_nats);
// "2026-11-24 06:33:12" (UTC); "-" for 0.
std::string FormatUtc(std::int64_t wall_ms);
// "0-3, 7" of ascending numbers.
std::string FormatRanges(const std::vector<std::int64_t>& numbers);

// Columns that a terminal uses: code points, escape sequences not counted.
int DisplayWidth(std::string_view text);
// Cut to `width` columns, with a last "…" when something was cut; the text holds no escape sequences.
std::string Truncated(std::string_view text, int width);
// Broken at spaces into at most `max_lines` lines of `width` columns; the last one is cut.
std::vector<std::string> Wrapped(std::string_view text, int width, int max_lines);
// Exactly `width` columns.
std::string PadRight(std::string_view text, int width);
std::string PadLeft(std::string_view text, int width);
// Text from elsewhere, safe to print: control characters become spaces, broken UTF-8 becomes '?'.
std::string Printable(std::string_view text);

}  // namespace entrain::cli
