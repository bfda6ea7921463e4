// The vocabulary of a byte-level BPE tokeniser as Hugging Face writes it: tokenizer.json, or GPT-2's vocab.json with merges.txt.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "data/byte_pairs.h"

namespace entrain::data {

struct ByteLevelVocabulary {
  std::array<std::uint32_t, 256> byte_tokens{};
  std::vector<BytePair> pairs;
  std::vector<std::string> bytes;  // of every token, by id
  // <|endoftext|>, <|end_of_text|>, </s> or <eos>, the first that there is.
  std::optional<std::uint32_t> end_of_text;
  bool add_prefix_space = false;
};

// INVALID_ARGUMENT names `path`, the field or merge, and what is wrong; a tokeniser that does anything but GPT-2's cut and merges
// (normalisers, other patterns, dropout) is refused by the field that says so.
absl::StatusOr<ByteLevelVocabulary> ParseTokenizerJson(std::string_view text, const std::string& path);

// The tokenizer.json that says the same as GPT-2's two files. Errors name merges.txt's line.
absl::StatusOr<std::string> TokenizerJsonOf(const std::string& vocab_path, const std::string& merges_path);

}  // namespace entrain::data
