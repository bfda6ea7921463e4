#include "data/tokenizer.h"

#include <filesystem>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "data/byte_level_tokenizer.h"
#include "data/byte_level_vocabulary.h"
#include "data/sentencepiece_tokenizer.h"

namespace entrain::data {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kBytes = "bytes";

// Byte 0 ends a document: text holds none, since a file with a NUL byte counts as binary.
class ByteTokenizer : public Tokenizer {
 public:
  std::int64_t vocab_size() const override { return 256; }
  std::uint32_t end_of_document() const override { return 0; }
  absl::Status Encode(std::string_view text, std::vector<std::uint32_t>* tokens) const override {
    const std::size_t before = tokens->size();
    tokens->resize(before + text.size());
    std::uint32_t* out = tokens->data() + before;
    for (const char byte : text) *out++ = static_cast<unsigned char>(byte);
    return absl::OkStatus();
  }
  absl::Status Decode(const std::uint32_t* tokens, std::size_t count, std::string* text) const override {
    for (std::size_t i = 0; i < count; ++i) {
      if (tokens[i] > 255) return absl::InvalidArgumentError(StrCat("token ", tokens[i], " is no byte"));
      *text += static_cast<char>(tokens[i]);
    }
    return absl::OkStatus();
  }
  std::string description() const override { return std::string(kBytes); }
};

absl::StatusOr<std::unique_ptr<Tokenizer>> OpenVocabAndMerges(const fs::path& dir) {
  const std::string vocab = (dir / "vocab.json").string();
  ENTRAIN_ASSIGN_OR_RETURN(std::string text, TokenizerJsonOf(vocab, (dir / "merges.txt").string()));
  return MakeByteLevelTokenizer(std::move(text), vocab);
}

absl::StatusOr<std::unique_ptr<Tokenizer>> OpenFile(const fs::path& path) {
  if (path.filename() == "vocab.json") return OpenVocabAndMerges(path.parent_path());
  ENTRAIN_ASSIGN_OR_RETURN(std::string bytes, ReadFile(path.string()));
  if (path.extension() == ".json") return MakeByteLevelTokenizer(std::move(bytes), path.string());
  return MakeSentencePieceTokenizer(std::move(bytes), path.string());
}

absl::StatusOr<std::unique_ptr<Tokenizer>> OpenFolder(const fs::path& dir) {
  std::error_code error;
  if (fs::exists(dir / "tokenizer.json", error)) return OpenFile(dir / "tokenizer.json");
  if (fs::exists(dir / "vocab.json", error)) return OpenVocabAndMerges(dir);
  if (fs::exists(dir / "tokenizer.model", error)) return OpenFile(dir / "tokenizer.model");
  return absl::NotFoundError(
      StrCat("tokenizer folder ", dir.string(), " holds none of tokenizer.json, vocab.json (with merges.txt) and tokenizer.model"));
}

}  // namespace

bool IsTrainedTokenizer(const std::string& name) { return ParseSentencePieceName(name).has_value(); }

bool IsTokenizerPath(const std::string& name) {
  return name.find('/') != std::string::npos || name.ends_with(".model") || name.ends_with(".json");
}

absl::Status CheckTokenizerName(const std::string& name) {
  if (name == kBytes || IsTrainedTokenizer(name) || IsTokenizerPath(name)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      StrCat("unknown tokenizer \"", name,
             "\"; known: bytes, sentencepiece:bpe:<size>, sentencepiece:unigram:<size> with a size from ",
             kMinSentencePieceVocabulary, " to ", kMaxSentencePieceVocabulary,
             ", and paths: a SentencePiece .model, a tokenizer.json, a folder with one or with vocab.json and merges.txt (./folder)"));
}

absl::StatusOr<std::string> CompleteTokenizerName(const std::string& name, std::int64_t vocab_size) {
  if (name == "sentencepiece:bpe" || name == "sentencepiece:unigram") {
    if (vocab_size == 0) return absl::InvalidArgumentError(StrCat("tokenizer ", name, " needs a vocab_size"));
    const std::string whole = StrCat(name, ":", vocab_size);
    ENTRAIN_RETURN_IF_ERROR(CheckTokenizerName(whole));
    return whole;
  }
  ENTRAIN_RETURN_IF_ERROR(CheckTokenizerName(name));
  const auto trained = ParseSentencePieceName(name);
  if (trained && vocab_size != 0 && vocab_size != trained->vocab_size) {
    return absl::InvalidArgumentError(StrCat("vocab_size is ", vocab_size, ", tokenizer ", name, " says another"));
  }
  return name;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> OpenTokenizer(const std::string& name) {
  ENTRAIN_RETURN_IF_ERROR(CheckTokenizerName(name));
  if (name == kBytes) return std::make_unique<ByteTokenizer>();
  std::error_code error;
  if (!fs::exists(name, error)) return absl::NotFoundError(StrCat("there is no tokenizer ", name));
  return fs::is_directory(name, error) ? OpenFolder(name) : OpenFile(name);
}

absl::StatusOr<std::unique_ptr<Tokenizer>> TrainTokenizer(const std::string& name, const TrainingText& text) {
  return TrainSentencePiece(*ParseSentencePieceName(name), text);
}

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadKeptTokenizer(const std::string& dir, const std::string& file_name) {
  if (file_name.empty()) return std::make_unique<ByteTokenizer>();
  return OpenFile(fs::path(dir) / file_name);
}

}  // namespace entrain::data
