// GPT-2's pre-tokenisation: which stretches of a text byte pairs may join. The same cut as the regular expression
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
#pragma once

#include <string_view>

namespace entrain::data {

// The first piece of a text that is not empty. A byte that is not UTF-8 counts as a character of no class.
std::string_view FirstPiece(std::string_view text);

}  // namespace entrain::data
