// Bearer tokens of people: a file of names, roles and hashes. The secrets themselves are with their owners and nowhere else.
//
//     # name    role    SHA-256 of the secret, hexadecimal                                         optional: the day it ends (UTC)
//     alice     submit  2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae           expires=2027-01-31
//
// One token a line, fields separated by blanks; empty lines and those that begin with # do not count. A person may have several.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/random.h"

namespace entrain::transport {

// Each may do what the one before may, and more: docs/SECURITY.md.
enum class Role { kView, kSubmit, kAdmin };
std::string_view ToString(Role role);
std::optional<Role> ParseRole(std::string_view text);

struct Token {
  std::string name;
  Role role = Role::kView;
  std::string hash;                     // 64 hexadecimal digits
  std::string expires;                  // YYYY-MM-DD, the last day on which it counts; empty: no end
  std::int64_t expires_wall_ms = 0;     // the end of that day; 0: no end
  // What logs and lists call it: the beginning of its hash, which tells nothing of the secret.
  std::string Id() const { return hash.substr(0, 12); }
  friend bool operator==(const Token&, const Token&) = default;
};

// INVALID_ARGUMENT names `file` and the line. A file whose bytes are no token file never says more of them than that.
absl::StatusOr<std::vector<Token>> ParseTokens(std::string_view text, const std::string& file);
// Without its newline.
std::string TokenLine(const Token& token);
// A person's name: 1 to 64 letters, digits, dots, hyphens, underscores and @.
bool IsPersonName(std::string_view name);
// The end of a day in milliseconds since the epoch; nullopt unless it is YYYY-MM-DD and a day of the calendar.
std::optional<std::int64_t> EndOfDayMs(std::string_view day);

// A secret of 260 random bits, recognisable by its beginning.
std::string NewSecret(IdSource* ids);
// No salt and no slow hash: nothing can be guessed of 260 random bits.
std::string HashOfSecret(std::string_view secret);
// The token with this secret that has not expired, or nullptr. Takes as long whichever it is.
const Token* FindToken(const std::vector<Token>& tokens, std::string_view secret, std::int64_t wall_ms);

}  // namespace entrain::transport
