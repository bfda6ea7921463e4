#include "cli/format.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>

#include "base/strings.h"

namespace entrain::cli {
namespace {

template <typename... Args>
std::string Print(const char* format, Args... args) {
  char text[96];
  std::snprintf(text, sizeof(text), format, args...);
  return text;
}

// Bytes of the UTF-8 sequence that starts at `text[at]`; 0 when it is broken.
std::size_t SequenceLength(std::string_view text, std::size_t at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  std::size_t length = 1;
  if (lead >= 0xF0 && lead < 0xF8) length = 4;
  else if (lead >= 0xE0) length = lead < 0xF0 ? 3 : 0;
  else if (lead >= 0xC2) length = 2;
  else if (lead >= 0x80) length = 0;
  if (length == 0 || at + length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((static_cast<unsigned char>(text[at + i]) & 0xC0) != 0x80) return 0;
  }
  return length;
}

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

}  // namespace

std::string FormatDuration(std::int64_t ms) {
  if (ms < 0) return "-";
  const long long seconds = (ms + 500) / 1000;
  if (seconds < 60) return Print("%llds", seconds);
  if (seconds < 3600) return Print("%lldm%02llds", seconds / 60, seconds % 60);
  if (seconds < 86400) return Print("%lldh%02lldm", seconds / 3600, seconds % 3600 / 60);
  return Print("%lldd%02lldh", seconds / 86400, seconds % 86400 / 3600);
}

std::string FormatCount(double value) {
  if (!std::isfinite(value)) return FormatFixed(value, 0);
  const double size = std::fabs(value);
  if (size < 999.5) return Print("%.0f", value);
  if (size < 999'950.0) return Print("%.1fk", value / 1e3);
  if (size < 999'995'000.0) return Print("%.2fM", value / 1e6);
  return Print("%.2fG", value / 1e9);
}

std::string FormatBytes(std::int64_t bytes) {
  const double size = static_cast<double>(bytes);
  if (size < 1024) return Print("%.0f B", size);
  if (size < 1024.0 * 1024) return Print("%.1f KiB", size / 1024);
  if (size < 1024.0 * 1024 * 1024) return Print("%.1f MiB", size / (1024.0 * 1024));
  return Print("%.2f GiB", size / (1024.0 * 1024 * 1024));
}

std::string FormatFixed(double value, int digits) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return Print("%.*f", digits, value);
}

std::string FormatPerplexity(double eval_loss_nats) {
  if (eval_loss_nats == 0.0) return "-";
  const double perplexity = std::exp(eval_loss_nats);
  if (!std::isfinite(perplexity)) return FormatFixed(perplexity, 0);
  if (perplexity < 10) return FormatFixed(perplexity, 3);
  if (perplexity < 100) return FormatFixed(perplexity, 2);
  if (perplexity < 10'000) return FormatFixed(perplexity, 0);
  return FormatCount(perplexity);
}

std::string FormatUtc(std::int64_t wall_ms) {
  if (wall_ms <= 0) return "-";
  const std::time_t seconds = static_cast<std::time_t>(wall_ms / 1000);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &parts);
  return text;
}

std::string FormatRanges(const std::vector<std::int64_t>& numbers) {
  std::string text;
  for (std::size_t i = 0; i < numbers.size();) {
    std::size_t last = i;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    StrAppend(&text, text.empty() ? "" : ", ", numbers[i]);
    if (last > i) StrAppend(&text, "-", numbers[last]);
    i = last + 1;
  }
  return text;
}

int DisplayWidth(std::string_view text) {
  int width = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\x1b') {
      while (i < text.size() && !((text[i] >= 'A' && text[i] <= 'Z') || (text[i] >= 'a' && text[i] <= 'z'))) ++i;
    } else if (!IsContinuation(text[i])) {
      ++width;
    }
  }
  return width;
}

std::string Truncated(std::string_view text, int width) {
  if (width <= 0) return "";
  if (DisplayWidth(text) <= width) return std::string(text);
  std::string cut;
  int columns = 0;
  for (const char c : text) {
    if (!IsContinuation(c) && ++columns == width) break;
    cut += c;
  }
  return cut + "…";
}

std::vector<std::string> Wrapped(std::string_view text, int width, int max_lines) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    if (static_cast<int>(lines.size()) + 1 == max_lines || DisplayWidth(text) <= width) {
      lines.push_back(Truncated(text, width));
      break;
    }
    std::size_t end = 0;
    for (std::size_t space = text.find(' '); space != std::string_view::npos; space = text.find(' ', space + 1)) {
      if (DisplayWidth(text.substr(0, space)) > width) break;
      end = space;
    }
    if (end == 0) {
      lines.push_back(Truncated(text, width));
      break;
    }
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  return lines;
}

std::string PadRight(std::string_view text, int width) {
  std::string padded = Truncated(text, width);
  padded.append(static_cast<std::size_t>(std::max(0, width - DisplayWidth(padded))), ' ');
  return padded;
}

std::string PadLeft(std::string_view text, int width) {
  const std::string cut = Truncated(text, width);
  return std::string(static_cast<std::size_t>(std::max(0, width - DisplayWidth(cut))), ' ') + cut;
}

std::string Printable(std::string_view text) {
  std::string safe;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = SequenceLength(text, i);
    if (length == 0) {
      safe += '?';
      ++i;
      continue;
    }
    const auto lead = static_cast<unsigned char>(text[i]);
    // C1 control characters are two bytes, 0xC2 0x80..0x9F.
    const bool control = lead < 0x20 || lead == 0x7F || (lead == 0xC2 && static_cast<unsigned char>(text[i + 1]) < 0xA0);
    if (control) safe += ' ';
    else safe.append(text.substr(i, length));
    i += length;
  }
  return safe;
}

}  // namespace entrain::cli
