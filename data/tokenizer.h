// Text <-> token ids.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
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
  // Stands for what the vocabulary cannot say, where there is such a token.
  virtual std::optional<std::uint32_t> unknown() const { return std::nullopt; }
  // Appends the tokens of one document, without its end. The text is UTF-8.
  virtual absl::Status Encode(std::string_view text, std::vector<std::uint32_t>* tokens) const = 0;
  // Appends the text of the tokens. INVALID_ARGUMENT for a token outside the vocabulary.
  virtual absl::Status Decode(const std::uint32_t* tokens, std::size_t count, std::string* text) const = 0;
  // "bytes", "sentencepiece", "byte-level-bpe".
  virtual std::string description() const = 0;
  // The file that the dataset keeps, so that its text can be tokenised and read again; no name when there is none.
  virtual std::string file_name() const { return ""; }
  virtual std::string file_bytes() const { return ""; }
};

// Calls its argument with every document of the training text; stops at and returns the first error.
using DocumentVisitor = std::function<absl::Status(std::string_view text)>;
using TrainingText = std::function<absl::Status(const DocumentVisitor& visit)>;

// What a user may write for a tokeniser:
//   bytes
//   sentencepiece:bpe:4096, sentencepiece:unigram:4096   trained on the spot
//   PATH.model                                           a SentencePiece model
//   PATH.json, or a folder                               a tokenizer.json, or GPT-2's vocab.json beside merges.txt
// OK when the name is one of these; touches no file. INVALID_ARGUMENT lists what is known.
absl::Status CheckTokenizerName(const std::string& name);
// The name with its vocabulary: sentencepiece:bpe and 4096 make sentencepiece:bpe:4096. INVALID_ARGUMENT when the two contradict each other,
// or when one that is to be trained has no size.
absl::StatusOr<std::string> CompleteTokenizerName(const std::string& name, std::int64_t vocab_size);
bool IsTrainedTokenizer(const std::string& name);
// Whether the name is a path.
bool IsTokenizerPath(const std::string& name);

// Any but a trained one. NOT_FOUND, or INVALID_ARGUMENT with the file and what is wrong in it.
absl::StatusOr<std::unique_ptr<Tokenizer>> OpenTokenizer(const std::string& name);
// Trains on a bounded part of the text. INVALID_ARGUMENT when the text is too small for the vocabulary.
absl::StatusOr<std::unique_ptr<Tokenizer>> TrainTokenizer(const std::string& name, const TrainingText& text);
// The tokeniser that a dataset keeps as `file_name` in `dir`; none is kept of bytes.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadKeptTokenizer(const std::string& dir, const std::string& file_name);

}  // namespace entrain::data
