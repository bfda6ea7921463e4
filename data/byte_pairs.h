// Byte pair encoding of one piece of text: neighbours are joined, the pair of lowest rank first, the leftmost of equal ones first, until
// no pair of the vocabulary is left.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace entrain::data {

struct BytePair {
  std::uint32_t left = 0;
  std::uint32_t right = 0;
  std::uint32_t joined = 0;
};

// Thread-safe once made.
class BytePairs {
 public:
  // The token of every byte; pairs in the order of their rank. A pair that is given twice has its last rank.
  BytePairs(const std::array<std::uint32_t, 256>& byte_tokens, const std::vector<BytePair>& pairs);
  // Appends the piece's tokens.
  void Encode(std::string_view piece, std::vector<std::uint32_t>* tokens) const;

 private:
  static constexpr std::uint32_t kNoRank = 0xFFFFFFFF;
  struct Entry {
    std::uint64_t key = 0;
    std::uint32_t rank = kNoRank;
    std::uint32_t joined = 0;
  };
  const Entry& Find(std::uint32_t left, std::uint32_t right) const;
  void EncodeShort(std::string_view piece, std::vector<std::uint32_t>* tokens) const;
  void EncodeLong(std::string_view piece, std::vector<std::uint32_t>* tokens) const;

  std::array<std::uint32_t, 256> byte_tokens_;
  std::vector<Entry> table_;  // open addressing; a power of two, at most half full
};

}  // namespace entrain::data
