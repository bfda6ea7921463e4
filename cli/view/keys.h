// Keys out of the bytes that a terminal sends.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace entrain::cli::view {

struct Key {
  enum class Kind { kText, kUp, kDown, kPageUp, kPageDown, kHome, kEnd, kEnter, kEscape, kBackspace, kSuspend };
  Kind kind = Kind::kText;
  std::string text;  // of kText: one character, UTF-8
  friend bool operator==(const Key&, const Key&) = default;
};

class KeyParser {
 public:
  // The keys that `bytes` complete; what is not complete yet waits for more. Sequences without a meaning here are dropped.
  std::vector<Key> Feed(std::string_view bytes);
  // Nothing came for a while: a lone Escape is the key, not the beginning of a sequence.
  std::vector<Key> Settle();
  bool pending() const { return !pending_.empty(); }

 private:
  std::string pending_;
};

}  // namespace entrain::cli::view
