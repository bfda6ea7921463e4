#include "data/token_file.h"

#include <cstring>

#include "base/strings.h"

namespace entrain::data {
namespace {

constexpr std::int32_t kGpt2Magic = 20240520;
constexpr std::int32_t kGpt2Version = 1;
constexpr std::int32_t kLlamaMagic = 20240801;
constexpr std::int32_t kLlamaVersion = 7;

// Little-endian, as is every machine that this program runs on.
std::int32_t IntAt(std::string_view bytes, std::size_t index) {
  std::int32_t value = 0;
  if (bytes.size() >= (index + 1) * 4) std::memcpy(&value, bytes.data() + index * 4, 4);
  return value;
}

}  // namespace

bool IsLlmC(std::string_view first_bytes) {
  const std::int32_t magic = IntAt(first_bytes, 0);
  return magic == kGpt2Magic || magic == kLlamaMagic;
}

absl::StatusOr<TokenFileHeader> ReadTokenFileHeader(std::string_view first_bytes, std::int64_t file_bytes, const std::string& path) {
  const auto bad = [&](std::int64_t offset, const std::string& what) {
    return absl::InvalidArgumentError(StrCat(path, ": offset ", offset, ": ", what));
  };
  TokenFileHeader header;
  if (!IsLlmC(first_bytes)) {
    header.tokens = file_bytes / 2;
    if (file_bytes % 2 != 0) return bad(file_bytes - 1, "half a token (nanoGPT's shards are uint16)");
    return header;
  }
  header.format = TokenFileFormat::kLlmC;
  header.header_bytes = kLlmCHeaderBytes;
  const bool wide = IntAt(first_bytes, 0) == kLlamaMagic;
  header.token_bytes = wide ? 4 : 2;
  if (file_bytes < kLlmCHeaderBytes) return bad(file_bytes, StrCat("truncated, llm.c's header has ", kLlmCHeaderBytes, " bytes"));
  const std::int32_t version = IntAt(first_bytes, 1);
  if (version != (wide ? kLlamaVersion : kGpt2Version)) {
    return bad(4, StrCat("version ", version, " of llm.c's format is not known (", wide ? kLlamaVersion : kGpt2Version, " is)"));
  }
  header.tokens = IntAt(first_bytes, 2);
  if (header.tokens < 0) return bad(8, StrCat("impossible number of tokens ", header.tokens));
  const std::int64_t expected = kLlmCHeaderBytes + header.tokens * header.token_bytes;
  if (file_bytes < expected) return bad(file_bytes, StrCat("truncated, ", expected, " bytes are expected for ", header.tokens, " tokens"));
  if (file_bytes > expected) return bad(expected, StrCat(file_bytes - expected, " bytes too many for ", header.tokens, " tokens"));
  return header;
}

std::string EncodeLlmCHeader(std::int64_t token_bytes, std::int64_t tokens) {
  std::string header(kLlmCHeaderBytes, '\0');
  const bool wide = token_bytes == 4;
  const std::int32_t values[] = {wide ? kLlamaMagic : kGpt2Magic, wide ? kLlamaVersion : kGpt2Version, static_cast<std::int32_t>(tokens)};
  std::memcpy(header.data(), values, sizeof(values));
  return header;
}

}  // namespace entrain::data
