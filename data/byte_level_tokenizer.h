// Byte-level BPE as GPT-2 does it.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "data/tokenizer.h"

namespace entrain::data {

// From the bytes of a tokenizer.json; errors name `path`.
absl::StatusOr<std::unique_ptr<Tokenizer>> MakeByteLevelTokenizer(std::string text, const std::string& path);

}  // namespace entrain::data
