#include "data/sentencepiece_tokenizer.h"

#include <charconv>
#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"
#include "data/sentencepiece_model.h"
#include "data/text_check.h"

namespace entrain::data {
namespace {

// Training needs many times the text's size in memory; more text than this changes the pieces little.
constexpr std::size_t kMaxTrainingBytes = 16 << 20;
// SentencePiece skips longer sentences.
constexpr std::size_t kMaxSentenceBytes = 4192;
constexpr std::string_view kPrefix = "sentencepiece:";

// A line as it is, or in parts cut before a space where it is too long.
void AppendLine(std::string_view line, std::vector<std::string>* lines) {
  while (line.size() > kMaxSentenceBytes) {
    const std::size_t space = line.rfind(' ', kMaxSentenceBytes);
    const std::size_t cut = space == std::string_view::npos || space == 0 ? CharacterCut(line, kMaxSentenceBytes) : space;
    lines->emplace_back(line.substr(0, cut));
    line.remove_prefix(cut);
  }
  if (!line.empty()) lines->emplace_back(line);
}

void AppendLines(std::string_view text, std::vector<std::string>* lines, std::size_t* bytes) {
  while (!text.empty() && *bytes < kMaxTrainingBytes) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    AppendLine(line, lines);
    *bytes += line.size();
    if (end == std::string_view::npos) return;
    text.remove_prefix(end + 1);
  }
}

class SentencePieceTokenizer : public Tokenizer {
 public:
  SentencePieceTokenizer(std::unique_ptr<SentencePieceModel> model, std::string bytes)
      : model_(std::move(model)), bytes_(std::move(bytes)) {}
  std::int64_t vocab_size() const override { return model_->vocab_size(); }
  std::uint32_t end_of_document() const override { return model_->end_of_sentence(); }
  absl::Status Encode(std::string_view text, std::vector<std::uint32_t>* tokens) const override {
    std::string error;
    if (model_->Encode(text, tokens, &error)) return absl::OkStatus();
    return absl::InternalError(StrCat("SentencePiece: ", error));
  }
  std::optional<std::uint32_t> unknown() const override { return model_->unknown(); }
  absl::Status Decode(const std::uint32_t* tokens, std::size_t count, std::string* text) const override {
    std::string error;
    if (model_->Decode(tokens, count, text, &error)) return absl::OkStatus();
    return absl::InvalidArgumentError(StrCat("SentencePiece: ", error));
  }
  std::string description() const override { return "sentencepiece"; }
  std::string file_name() const override { return "tokenizer.model"; }
  std::string file_bytes() const override { return bytes_; }

 private:
  std::unique_ptr<SentencePieceModel> model_;
  std::string bytes_;
};

}  // namespace

std::optional<SentencePieceName> ParseSentencePieceName(std::string_view text) {
  if (!text.starts_with(kPrefix)) return std::nullopt;
  text.remove_prefix(kPrefix.size());
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  SentencePieceName name{std::string(text.substr(0, colon)), 0};
  const std::string_view size = text.substr(colon + 1);
  const auto end = std::from_chars(size.data(), size.data() + size.size(), name.vocab_size);
  const bool whole = end.ec == std::errc() && end.ptr == size.data() + size.size();
  const bool known = name.model_type == "bpe" || name.model_type == "unigram";
  const bool fits = name.vocab_size >= kMinSentencePieceVocabulary && name.vocab_size <= kMaxSentencePieceVocabulary;
  if (!whole || !known || !fits) return std::nullopt;
  return name;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> MakeSentencePieceTokenizer(std::string model, const std::string& path) {
  std::string error;
  auto loaded = SentencePieceModel::Load(model, &error);
  if (!loaded) return absl::InvalidArgumentError(StrCat(path, ": no SentencePiece model: ", error));
  if (!loaded->has_end_of_sentence()) {
    return absl::InvalidArgumentError(StrCat(path, ": the model has no end-of-sentence piece (eos_id), which would end a document"));
  }
  return std::make_unique<SentencePieceTokenizer>(std::move(loaded), std::move(model));
}

absl::StatusOr<std::unique_ptr<Tokenizer>> TrainSentencePiece(const SentencePieceName& name, const TrainingText& text) {
  std::vector<std::string> lines;
  std::size_t bytes = 0;
  ENTRAIN_RETURN_IF_ERROR(text([&](std::string_view document) {
    AppendLines(document, &lines, &bytes);
    return absl::OkStatus();
  }));
  std::string error;
  std::string model = TrainSentencePieceModel(name.model_type, name.vocab_size, kMaxSentenceBytes, lines, &error);
  auto loaded = error.empty() ? SentencePieceModel::Load(model, &error) : nullptr;
  if (loaded) return std::make_unique<SentencePieceTokenizer>(std::move(loaded), std::move(model));
  return absl::InvalidArgumentError(
      StrCat("cannot train a SentencePiece vocabulary of ", name.vocab_size, " on ", bytes, " bytes of text: ", error));
}

}  // namespace entrain::data
