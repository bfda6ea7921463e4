#include "data/byte_pairs.h"

#include <cstddef>
#include <queue>
#include <tuple>

namespace entrain::data {
namespace {

// Up to here looking at every pair again costs less than keeping them in order.
constexpr std::size_t kShortBytes = 48;
constexpr std::uint32_t kNone = 0xFFFFFFFF;

std::uint64_t KeyOf(std::uint32_t left, std::uint32_t right) { return std::uint64_t{left} << 32 | right; }

std::size_t HashOf(std::uint64_t key) { return static_cast<std::size_t>((key * 0x9E3779B97F4A7C15u) >> 20); }

// A token of a long piece, linked to its neighbours.
struct Symbol {
  std::uint32_t token = 0;
  std::uint32_t previous = kNone;
  std::uint32_t next = kNone;
};

struct Candidate {
  std::uint32_t rank = 0;
  std::uint32_t at = 0;
  std::uint32_t left = 0;
  std::uint32_t right = 0;
  std::uint32_t joined = 0;
  bool operator>(const Candidate& other) const { return std::tie(rank, at) > std::tie(other.rank, other.at); }
};

}  // namespace

BytePairs::BytePairs(const std::array<std::uint32_t, 256>& byte_tokens, const std::vector<BytePair>& pairs)
    : byte_tokens_(byte_tokens) {
  std::size_t size = 16;
  while (size < pairs.size() * 2 + 2) size *= 2;
  table_.resize(size);
  for (std::size_t rank = 0; rank < pairs.size(); ++rank) {
    const BytePair& pair = pairs[rank];
    const std::uint64_t key = KeyOf(pair.left, pair.right);
    std::size_t slot = HashOf(key) & (size - 1);
    while (table_[slot].rank != kNoRank && table_[slot].key != key) slot = (slot + 1) & (size - 1);
    table_[slot] = {key, static_cast<std::uint32_t>(rank), pair.joined};
  }
}

// An empty entry when the two are no pair.
const BytePairs::Entry& BytePairs::Find(std::uint32_t left, std::uint32_t right) const {
  const std::uint64_t key = KeyOf(left, right);
  std::size_t slot = HashOf(key) & (table_.size() - 1);
  while (table_[slot].rank != kNoRank && table_[slot].key != key) slot = (slot + 1) & (table_.size() - 1);
  return table_[slot];
}

void BytePairs::Encode(std::string_view piece, std::vector<std::uint32_t>* tokens) const {
  if (piece.size() <= kShortBytes) {
    EncodeShort(piece, tokens);
  } else {
    EncodeLong(piece, tokens);
  }
}

void BytePairs::EncodeShort(std::string_view piece, std::vector<std::uint32_t>* tokens) const {
  std::array<std::uint32_t, kShortBytes> token;
  std::array<Entry, kShortBytes> pair;  // of a token and its successor
  std::size_t count = piece.size();
  for (std::size_t i = 0; i < count; ++i) token[i] = byte_tokens_[static_cast<unsigned char>(piece[i])];
  for (std::size_t i = 0; i + 1 < count; ++i) pair[i] = Find(token[i], token[i + 1]);
  while (count > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < count; ++i) {
      if (pair[i].rank < pair[best].rank) best = i;
    }
    if (pair[best].rank == kNoRank) break;
    token[best] = pair[best].joined;
    --count;
    for (std::size_t i = best + 1; i < count; ++i) token[i] = token[i + 1];
    for (std::size_t i = best; i + 1 < count; ++i) pair[i] = pair[i + 1];
    if (best > 0) pair[best - 1] = Find(token[best - 1], token[best]);
    if (best + 1 < count) pair[best] = Find(token[best], token[best + 1]);
  }
  tokens->insert(tokens->end(), token.begin(), token.begin() + static_cast<std::ptrdiff_t>(count));
}

void BytePairs::EncodeLong(std::string_view piece, std::vector<std::uint32_t>* tokens) const {
  std::vector<Symbol> symbols(piece.size());
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> candidates;
  const auto consider = [&](std::uint32_t at) {
    const std::uint32_t next = at == kNone ? kNone : symbols[at].next;
    if (next == kNone) return;
    const Entry& entry = Find(symbols[at].token, symbols[next].token);
    if (entry.rank != kNoRank) candidates.push({entry.rank, at, symbols[at].token, symbols[next].token, entry.joined});
  };
  const auto count = static_cast<std::uint32_t>(piece.size());
  for (std::uint32_t i = 0; i < count; ++i) {
    symbols[i] = {byte_tokens_[static_cast<unsigned char>(piece[i])], i == 0 ? kNone : i - 1, i + 1 == count ? kNone : i + 1};
  }
  for (std::uint32_t i = 0; i + 1 < count; ++i) consider(i);
  while (!candidates.empty()) {
    const Candidate best = candidates.top();
    candidates.pop();
    Symbol& left = symbols[best.at];
    // One of the two may have been joined with another since.
    if (left.token != best.left || left.next == kNone || symbols[left.next].token != best.right) continue;
    symbols[left.next].token = kNone;
    left.token = best.joined;
    left.next = symbols[left.next].next;
    if (left.next != kNone) symbols[left.next].previous = best.at;
    consider(left.previous);
    consider(best.at);
  }
  for (std::uint32_t at = 0; at != kNone; at = symbols[at].next) tokens->push_back(symbols[at].token);
}

}  // namespace entrain::data
