// The header of a file of training tokens (nanoGPT's or llm.c's): the first byte says how the file's size relates to what is there of it.
#include "base/check.h"
#include "data/token_file.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace entrain;
  if (size == 0) return 0;
  const std::string_view file = fuzz::TextOf(bytes + 1, size - 1);
  const std::string_view first = file.substr(0, data::kLlmCHeaderBytes);
  const std::int64_t file_bytes = static_cast<std::int64_t>(file.size()) + (bytes[0] >= 128 ? std::int64_t{1} << (bytes[0] % 63) : bytes[0]);
  const auto header = data::ReadTokenFileHeader(first, file_bytes, "tokens");
  if (!header.ok()) return 0;
  ENTRAIN_CHECK(header->token_bytes == 2 || header->token_bytes == 4);
  ENTRAIN_CHECK(header->tokens >= 0 && header->tokens <= (file_bytes - header->header_bytes) / header->token_bytes);
  return 0;
}
