#include "data/document_reader.h"

#include <cstring>

#include "base/status_macros.h"
#include "base/strings.h"
#include "data/json_field.h"

namespace entrain::data {

absl::StatusOr<std::string_view> DocumentReader::ContentOf(const Batch& batch, const Record& record, std::string* scratch) const {
  if (record.kind != FileKind::kJsonLines) return batch.BytesOf(record);
  const auto bad = [&](std::string_view what) {
    return absl::InvalidArgumentError(
        StrCat(corpus_->files[record.file].path, ":", record.line, " (offset ", record.offset, "): ", what));
  };
  const absl::Status read = ReadTextField(batch.BytesOf(record), field_, scratch);
  if (!read.ok()) return bad(std::string(read.message()));
  if (refuse_nul_ && scratch->find('\0') != std::string::npos) {
    return bad(StrCat("field ", field_, ": holds a NUL character, which the bytes tokenizer keeps for the ends of documents"));
  }
  return std::string_view(*scratch);
}

absl::Status DocumentReader::AppendTokens(const Record& record, std::string_view content, std::vector<std::uint32_t>* tokens) const {
  const auto width = static_cast<std::size_t>(record.token_bytes);
  const std::size_t count = content.size() / width;
  tokens->reserve(tokens->size() + count);
  for (std::size_t i = 0; i < count; ++i) {
    std::uint32_t token = 0;
    // The low bytes come first, in the file and in memory.
    std::memcpy(&token, content.data() + i * width, width);
    if (token >= vocab_size_) {
      return absl::InvalidArgumentError(StrCat(corpus_->files[record.file].path, ": offset ",
                                               record.offset + static_cast<std::int64_t>(i * width), ": token ", token,
                                               " is outside the vocabulary of ", vocab_size_));
    }
    tokens->push_back(token);
  }
  return absl::OkStatus();
}

}  // namespace entrain::data
