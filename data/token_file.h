// Token shards of other programs: nanoGPT's .bin (uint16, nothing else) and llm.c's (a header of 256 int32, then uint16 or uint32).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace entrain::data {

enum class TokenFileFormat { kNanoGpt, kLlmC };

struct TokenFileHeader {
  TokenFileFormat format = TokenFileFormat::kNanoGpt;
  std::int64_t header_bytes = 0;
  std::int64_t token_bytes = 2;
  std::int64_t tokens = 0;
};

// GPT-2's: what tokens of these files are where nothing else is said.
inline constexpr std::int64_t kGpt2Vocabulary = 50257;
inline constexpr std::int64_t kGpt2EndOfText = 50256;
inline constexpr std::int64_t kLlmCHeaderBytes = 1024;

// Whether the file begins as llm.c's do.
bool IsLlmC(std::string_view first_bytes);
// From the file's first bytes (kLlmCHeaderBytes, or all if it is shorter) and its size. INVALID_ARGUMENT names the path and the offset: a
// version that is not known, fewer or more tokens than the header says, half a token.
absl::StatusOr<TokenFileHeader> ReadTokenFileHeader(std::string_view first_bytes, std::int64_t file_bytes, const std::string& path);
// Magic 20240520, version 1 for uint16; magic 20240801, version 7 for uint32. At most 2^31 - 1 tokens.
std::string EncodeLlmCHeader(std::int64_t token_bytes, std::int64_t tokens);

}  // namespace entrain::data
