// Records -> documents: the text that a record holds, or its tokens.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "data/record_reader.h"

namespace entrain::data {

// Thread-safe.
class DocumentReader {
 public:
  // `vocab_size` is the limit for tokens of token shards.
  DocumentReader(const Corpus* corpus, std::string field, bool refuse_nul, std::int64_t vocab_size)
      : corpus_(corpus), field_(std::move(field)), refuse_nul_(refuse_nul), vocab_size_(vocab_size) {}

  // The document's content, in the batch or in `scratch`: text, or the bytes of its tokens. Empty for a record with an empty text.
  absl::StatusOr<std::string_view> ContentOf(const Batch& batch, const Record& record, std::string* scratch) const;
  // Appends the tokens of a record of kTokens, of which `content` is the content or its beginning.
  absl::Status AppendTokens(const Record& record, std::string_view content, std::vector<std::uint32_t>* tokens) const;

 private:
  const Corpus* const corpus_;
  const std::string field_;
  const bool refuse_nul_;
  const std::int64_t vocab_size_;
};

}  // namespace entrain::data
