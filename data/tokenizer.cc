#include "data/tokenizer.h"

#include "base/status_macros.h"
#include "base/strings.h"
#include "data/sentencepiece_tokenizer.h"

namespace entrain::data {
namespace {

// Byte 0 ends a document: text holds none, since a file with a NUL byte counts as binary.
class ByteTokenizer : public Tokenizer {
 public:
  std::int64_t vocab_size() const override { return 256; }
  std::uint32_t end_of_document() const override { return 0; }
  absl::Status Encode(std::string_view text, std::vector<std::uint32_t>* tokens) const override {
    for (char byte : text) tokens->push_back(static_cast<unsigned char>(byte));
    return absl::OkStatus();
  }
};

}  // namespace

absl::Status CheckTokenizerName(const std::string& name) {
  if (name == "bytes" || ParseSentencePieceName(name)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      StrCat("unknown tokenizer \"", name,
             "\"; known: bytes, sentencepiece:bpe:<size>, sentencepiece:unigram:<size> with a size from ",
             kMinSentencePieceVocabulary, " to ", kMaxSentencePieceVocabulary));
}

absl::StatusOr<std::unique_ptr<Tokenizer>> MakeTokenizer(const std::string& name, const TrainingText& text) {
  ENTRAIN_RETURN_IF_ERROR(CheckTokenizerName(name));
  if (name == "bytes") return std::make_unique<ByteTokenizer>();
  return TrainSentencePiece(*ParseSentencePieceName(name), text);
}

}  // namespace entrain::data
