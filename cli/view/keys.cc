#include "cli/view/keys.h"

#include <optional>

namespace entrain::cli::view {
namespace {

constexpr char kEscapeByte = '\x1b';

// Length of the UTF-8 sequence that `lead` begins; broken bytes stand alone.
std::size_t LengthOf(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  if (byte >= 0xF0) return 4;
  if (byte >= 0xE0) return 3;
  return byte >= 0xC0 ? 2 : 1;
}

// "\x1b[A", "\x1bOA", "\x1b[5~": from after the Escape to the final byte; 0 when that is not there yet.
std::size_t SequenceLengthOf(std::string_view bytes) {
  if (bytes.size() < 3) return 0;
  for (std::size_t i = 2; i < bytes.size(); ++i) {
    if (bytes[i] >= '@' && bytes[i] <= '~') return i + 1;
  }
  return 0;
}

std::optional<Key::Kind> MeaningOf(std::string_view sequence) {
  const std::string_view parameters = sequence.substr(2, sequence.size() - 3);
  switch (sequence.back()) {
    case 'A': return Key::Kind::kUp;
    case 'B': return Key::Kind::kDown;
    case 'H': return Key::Kind::kHome;
    case 'F': return Key::Kind::kEnd;
    case '~':
      if (parameters == "5") return Key::Kind::kPageUp;
      if (parameters == "6") return Key::Kind::kPageDown;
      if (parameters == "1" || parameters == "7") return Key::Kind::kHome;
      if (parameters == "4" || parameters == "8") return Key::Kind::kEnd;
      return std::nullopt;
    default: return std::nullopt;
  }
}

std::optional<Key> SingleByte(char byte) {
  if (byte == '\r' || byte == '\n') return Key{Key::Kind::kEnter, ""};
  if (byte == '\x7f' || byte == '\b') return Key{Key::Kind::kBackspace, ""};
  if (byte == '\x1a') return Key{Key::Kind::kSuspend, ""};
  if (static_cast<unsigned char>(byte) < 0x20) return std::nullopt;
  return Key{Key::Kind::kText, std::string(1, byte)};
}

}  // namespace

std::vector<Key> KeyParser::Feed(std::string_view bytes) {
  pending_ += bytes;
  std::vector<Key> keys;
  std::string_view rest = pending_;
  while (!rest.empty()) {
    std::size_t used = 1;
    if (rest[0] == kEscapeByte) {
      if (rest.size() == 1) break;
      if (rest[1] == '[' || rest[1] == 'O') {
        used = SequenceLengthOf(rest);
        if (used == 0) break;
        if (const auto meaning = MeaningOf(rest.substr(0, used))) keys.push_back({*meaning, ""});
      } else {
        keys.push_back({Key::Kind::kEscape, ""});
      }
    } else {
      used = LengthOf(rest[0]);
      if (rest.size() < used) break;
      if (used > 1) keys.push_back({Key::Kind::kText, std::string(rest.substr(0, used))});
      else if (auto key = SingleByte(rest[0])) keys.push_back(*std::move(key));
    }
    rest.remove_prefix(used);
  }
  pending_ = std::string(rest);
  return keys;
}

std::vector<Key> KeyParser::Settle() {
  std::vector<Key> keys;
  if (pending_ == std::string(1, kEscapeByte)) keys.push_back({Key::Kind::kEscape, ""});
  pending_.clear();
  return keys;
}

}  // namespace entrain::cli::view
