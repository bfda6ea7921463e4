// Content hashes (XXH3): ids of cells, data sets and checkpoints. They find damage and name content; they are no defence against
// a forger.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace entrain {

std::uint64_t Hash64(std::string_view bytes);
// 32 lower-case hexadecimal digits of the 128-bit hash.
std::string HashHex(std::string_view bytes);

// The 128-bit hash of a stream.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;
  void Update(std::string_view bytes);
  // 32 hexadecimal digits of everything so far.
  std::string Hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace entrain
