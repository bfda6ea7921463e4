#include "data/text_check.h"

#include <algorithm>

namespace entrain::data {

bool TextCheck::Feed(std::string_view bytes) {
  for (const char character : bytes) {
    const auto byte = static_cast<unsigned char>(character);
    if (pending_ > 0) {
      if (byte < low_ || byte > high_) return ok_ = false;
      low_ = 0x80;
      high_ = 0xBF;
      --pending_;
    } else if (byte >= 0xC2 && byte <= 0xDF) {
      pending_ = 1;
    } else if (byte >= 0xE0 && byte <= 0xEF) {
      pending_ = 2;
      if (byte == 0xE0) low_ = 0xA0;
      if (byte == 0xED) high_ = 0x9F;
    } else if (byte >= 0xF0 && byte <= 0xF4) {
      pending_ = 3;
      if (byte == 0xF0) low_ = 0x90;
      if (byte == 0xF4) high_ = 0x8F;
    } else if (byte == 0 || byte >= 0x80) {
      return ok_ = false;
    }
  }
  return ok_;
}

std::size_t CharacterCut(std::string_view text, std::size_t limit) {
  std::size_t cut = std::min(limit, text.size());
  while (cut > 0 && cut < text.size() && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) --cut;
  return cut;
}

}  // namespace entrain::data
