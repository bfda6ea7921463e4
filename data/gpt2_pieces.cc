#include "data/gpt2_pieces.h"

#include <cstddef>

#include "data/unicode_class.h"

namespace entrain::data {
namespace {

struct Character {
  std::size_t bytes = 1;
  UnicodeClass kind = UnicodeClass::kOther;
};

Character CharacterAt(std::string_view text, std::size_t at) {
  const auto first = static_cast<unsigned char>(text[at]);
  if (first < 0x80) return {1, ClassOf(first)};
  const std::size_t bytes = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC2 ? 2 : 1;
  if (bytes == 1 || at + bytes > text.size()) return {};
  char32_t value = first & (0xFF >> (bytes + 1));
  for (std::size_t i = 1; i < bytes; ++i) {
    const auto next = static_cast<unsigned char>(text[at + i]);
    if ((next & 0xC0) != 0x80) return {};
    value = value << 6 | (next & 0x3F);
  }
  return {bytes, ClassOf(value)};
}

std::size_t EndOfRun(std::string_view text, std::size_t at, UnicodeClass kind) {
  while (at < text.size()) {
    const Character character = CharacterAt(text, at);
    if (character.kind != kind) break;
    at += character.bytes;
  }
  return at;
}

// Length of 's, 't, 're, 've, 'm, 'll, 'd at the beginning; 0 when there is none.
std::size_t ContractionBytes(std::string_view text) {
  if (text.size() < 2 || text[0] != '\'') return 0;
  switch (text[1]) {
    case 's':
    case 't':
    case 'm':
    case 'd':
      return 2;
    case 'r':
    case 'v':
      return text.size() > 2 && text[2] == 'e' ? 3 : 0;
    case 'l':
      return text.size() > 2 && text[2] == 'l' ? 3 : 0;
    default:
      return 0;
  }
}

// A run of white space leaves its last character to what follows, unless it is the only one or the text ends.
std::size_t SpaceBytes(std::string_view text) {
  std::size_t at = 0;
  std::size_t last = 0;
  while (at < text.size()) {
    const Character character = CharacterAt(text, at);
    if (character.kind != UnicodeClass::kSpace) break;
    last = at;
    at += character.bytes;
  }
  return at == text.size() || last == 0 ? at : last;
}

}  // namespace

std::string_view FirstPiece(std::string_view text) {
  if (const std::size_t contraction = ContractionBytes(text); contraction > 0) return text.substr(0, contraction);
  const std::size_t word = text[0] == ' ' && text.size() > 1 ? 1 : 0;
  const UnicodeClass kind = CharacterAt(text, word).kind;
  if (kind != UnicodeClass::kSpace) return text.substr(0, EndOfRun(text, word, kind));
  return text.substr(0, SpaceBytes(text));
}

}  // namespace entrain::data
