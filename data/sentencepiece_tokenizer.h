// SentencePiece models: trained on the spot, with byte fallback so that every text survives the round trip.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "data/tokenizer.h"

namespace entrain::data {

// 256 byte pieces and 3 control pieces leave little below 320.
inline constexpr std::int64_t kMinSentencePieceVocabulary = 320;
inline constexpr std::int64_t kMaxSentencePieceVocabulary = 1 << 20;

struct SentencePieceName {
  std::string model_type;  // "bpe" or "unigram"
  std::int64_t vocab_size = 0;
};
// nullopt unless the text is sentencepiece:<bpe|unigram>:<size>.
std::optional<SentencePieceName> ParseSentencePieceName(std::string_view text);

// From the bytes of a model file; errors name `path`.
absl::StatusOr<std::unique_ptr<Tokenizer>> MakeSentencePieceTokenizer(std::string model, const std::string& path);

// Trains on a bounded part of the text. INVALID_ARGUMENT when the text is too small for the vocabulary.
absl::StatusOr<std::unique_ptr<Tokenizer>> TrainSentencePiece(const SentencePieceName& name, const TrainingText& text);

}  // namespace entrain::data
