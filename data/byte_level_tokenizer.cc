#include "data/byte_level_tokenizer.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

#include "base/hash.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "data/byte_level_vocabulary.h"
#include "data/gpt2_pieces.h"

namespace entrain::data {
namespace {

constexpr std::size_t kCachedBytes = 30;
constexpr std::size_t kCachedTokens = 8;
constexpr std::size_t kCacheSlots = 1 << 15;

// The tokens of pieces seen before, one a slot: text repeats its words. Of one thread and one tokeniser.
class PieceCache {
 public:
  void BelongTo(std::uint64_t owner) {
    if (owner_ == owner) return;
    owner_ = owner;
    slots_.assign(kCacheSlots, Slot());
  }
  bool Find(std::string_view piece, std::uint64_t hash, std::vector<std::uint32_t>* tokens) const {
    const Slot& slot = slots_[hash & (kCacheSlots - 1)];
    if (slot.length != piece.size() || std::memcmp(slot.piece, piece.data(), piece.size()) != 0) return false;
    tokens->insert(tokens->end(), slot.tokens, slot.tokens + slot.count);
    return true;
  }
  void Keep(std::string_view piece, std::uint64_t hash, const std::uint32_t* tokens, std::size_t count) {
    if (count > kCachedTokens) return;
    Slot& slot = slots_[hash & (kCacheSlots - 1)];
    slot.length = static_cast<unsigned char>(piece.size());
    slot.count = static_cast<unsigned char>(count);
    std::memcpy(slot.piece, piece.data(), piece.size());
    std::copy(tokens, tokens + count, slot.tokens);
  }

 private:
  struct Slot {
    unsigned char length = 0;
    unsigned char count = 0;
    char piece[kCachedBytes];
    std::uint32_t tokens[kCachedTokens];
  };
  std::uint64_t owner_ = 0;
  std::vector<Slot> slots_;
};

class ByteLevelTokenizer : public Tokenizer {
 public:
  ByteLevelTokenizer(ByteLevelVocabulary vocabulary, std::string text)
      : vocabulary_(std::move(vocabulary)),
        pairs_(vocabulary_.byte_tokens, vocabulary_.pairs),
        json_(std::move(text)),
        number_(++made_) {}

  std::int64_t vocab_size() const override { return static_cast<std::int64_t>(vocabulary_.bytes.size()); }
  std::uint32_t end_of_document() const override { return *vocabulary_.end_of_text; }

  absl::Status Encode(std::string_view text, std::vector<std::uint32_t>* tokens) const override {
    thread_local PieceCache cache;
    cache.BelongTo(number_);
    std::string prefixed;
    if (vocabulary_.add_prefix_space && !text.empty() && text[0] != ' ') {
      prefixed = StrCat(" ", text);
      text = prefixed;
    }
    while (!text.empty()) {
      const std::string_view piece = FirstPiece(text);
      text.remove_prefix(piece.size());
      EncodePiece(piece, &cache, tokens);
    }
    return absl::OkStatus();
  }

  absl::Status Decode(const std::uint32_t* tokens, std::size_t count, std::string* text) const override {
    for (std::size_t i = 0; i < count; ++i) {
      if (tokens[i] >= vocabulary_.bytes.size()) {
        return absl::InvalidArgumentError(StrCat("token ", tokens[i], " of a vocabulary of ", vocab_size()));
      }
      *text += vocabulary_.bytes[tokens[i]];
    }
    return absl::OkStatus();
  }

  std::string description() const override { return "byte-level-bpe"; }
  std::string file_name() const override { return "tokenizer.json"; }
  std::string file_bytes() const override { return json_; }

 private:
  void EncodePiece(std::string_view piece, PieceCache* cache, std::vector<std::uint32_t>* tokens) const {
    if (piece.size() > kCachedBytes) return pairs_.Encode(piece, tokens);
    const std::uint64_t hash = Hash64(piece);
    if (cache->Find(piece, hash, tokens)) return;
    const std::size_t before = tokens->size();
    pairs_.Encode(piece, tokens);
    cache->Keep(piece, hash, tokens->data() + before, tokens->size() - before);
  }

  static inline std::atomic<std::uint64_t> made_ = 0;
  const ByteLevelVocabulary vocabulary_;
  const BytePairs pairs_;
  const std::string json_;
  const std::uint64_t number_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> MakeByteLevelTokenizer(std::string text, const std::string& path) {
  ENTRAIN_ASSIGN_OR_RETURN(ByteLevelVocabulary vocabulary, ParseTokenizerJson(text, path));
  if (!vocabulary.end_of_text) {
    return absl::InvalidArgumentError(
        StrCat(path, ": no token ends a document: none of <|endoftext|>, <|end_of_text|>, </s> and <eos> is in the vocabulary"));
  }
  return std::make_unique<ByteLevelTokenizer>(std::move(vocabulary), std::move(text));
}

}  // namespace entrain::data
