// The classes that regular expressions over text know as \p{L}, \p{N} and \s, from Unicode 16.0: what the tokenizers package of Hugging
// Face decides, over every code point (tests/data/byte_level/make_expected.py). No library: ICU and RE2 follow other versions.
#pragma once

namespace entrain::data {

enum class UnicodeClass : unsigned char { kLetter, kNumber, kSpace, kOther };

UnicodeClass ClassOf(char32_t character);

}  // namespace entrain::data
