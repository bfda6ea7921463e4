#pragma once

#include <string_view>

namespace entrain::data {

// Streaming check of UTF-8 (no overlong forms, surrogates or values above U+10FFFF) without NUL bytes.
class TextCheck {
 public:
  // False once anything seen is not text.
  bool Feed(std::string_view bytes);
  // True when the text did not end inside a character.
  bool Complete() const { return ok_ && pending_ == 0; }

 private:
  bool ok_ = true;
  int pending_ = 0;
  unsigned char low_ = 0x80;
  unsigned char high_ = 0xBF;
};

// The largest place up to `limit` where a character begins, or the text's end.
std::size_t CharacterCut(std::string_view text, std::size_t limit);

}  // namespace entrain::data
