// Text -> token ids.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace entrain::data {

// Thread-safe once made.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual std::int64_t vocab_size() const = 0;
  // The token that ends every document in a stream.
  virtual std::uint32_t end_of_document() const = 0;
  // Appends the tokens of one document, without its end.
  virtual absl::Status Encode(std::string_view text, std::vector<std::uint32_t>* tokens) const = 0;
  // The file that the dataset keeps, so that its text can be tokenised and read again; no name when there is none.
  virtual std::string file_name() const { return ""; }
  virtual std::string file_bytes() const { return ""; }
};

// Calls its argument with every document of the training text; stops at and returns the first error.
using DocumentVisitor = std::function<absl::Status(std::string_view text)>;
using TrainingText = std::function<absl::Status(const DocumentVisitor& visit)>;

// "bytes", or one trained on the spot: "sentencepiece:bpe:4096", "sentencepiece:unigram:4096". INVALID_ARGUMENT lists
// what is known.
absl::StatusOr<std::unique_ptr<Tokenizer>> MakeTokenizer(const std::string& name, const TrainingText& text);

// OK when MakeTokenizer knows the name; reads no text.
absl::Status CheckTokenizerName(const std::string& name);

}  // namespace entrain::data
