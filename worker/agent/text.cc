#include "worker/agent/text.h"

#include "base/strings.h"

namespace entrain::agent {
namespace {

// Bytes of the valid UTF-8 character that begins `text`; 0 when there is none. Follows table 3-7 of the Unicode standard.
std::size_t CharacterBytes(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  unsigned char low = 0x80, high = 0xbf;
  if (first == 0xe0) low = 0xa0;
  if (first == 0xed) high = 0x9f;
  if (first == 0xf0) low = 0x90;
  if (first == 0xf4) high = 0x8f;
  if (byte(1) < low || byte(1) > high) return 0;
  for (std::size_t i = 2; i < length; ++i) {
    if (byte(i) < 0x80 || byte(i) > 0xbf) return 0;
  }
  return length;
}

}  // namespace

std::string ValidUtf8(std::string_view text, std::size_t max_bytes) {
  std::string result;
  while (!text.empty()) {
    const std::size_t length = CharacterBytes(text);
    if (result.size() + std::max<std::size_t>(length, 1) > max_bytes) break;
    if (length == 0) {
      result += '?';
      text.remove_prefix(1);
    } else {
      result.append(text.substr(0, length));
      text.remove_prefix(length);
    }
  }
  return result;
}

std::string ReadableLogLine(std::string_view line) {
  const std::size_t close = line.find(']');
  const std::size_t comma = line.find(',');
  const std::size_t end = line.find(">:");
  if (line.empty() || line[0] != '[' || close == std::string_view::npos || comma > close || end == std::string_view::npos ||
      close + 1 >= line.size() || line[close + 1] != '<' || end > close + 10) {
    return std::string(line);
  }
  return StrCat("[", line.substr(comma + 1, close - comma - 1), "] ", line.substr(end + 2));
}

}  // namespace entrain::agent
