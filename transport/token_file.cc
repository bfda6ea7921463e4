#include "transport/token_file.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <set>

#include "base/strings.h"

namespace entrain::transport {
namespace {

constexpr std::string_view kRoleTexts[] = {"view", "submit", "admin"};
constexpr std::string_view kSecretPrefix = "entrain_";
constexpr std::string_view kExpires = "expires=";
constexpr int kSecretLength = 52;
constexpr std::size_t kHashLength = 64;
constexpr std::size_t kMaxNameLength = 64;
constexpr std::size_t kMaxFields = 5;

std::vector<std::string_view> FieldsOf(std::string_view line) {
  std::vector<std::string_view> fields;
  constexpr std::string_view kBlank = " \t\r";
  for (std::size_t begin = line.find_first_not_of(kBlank); begin != std::string_view::npos && fields.size() < kMaxFields;) {
    const std::size_t end = std::min(line.find_first_of(kBlank, begin), line.size());
    fields.push_back(line.substr(begin, end - begin));
    begin = line.find_first_not_of(kBlank, end);
  }
  return fields;
}

bool IsHash(std::string_view text) {
  return text.size() == kHashLength &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

// What is wrong with the line; empty: nothing. Says nothing of the fields' content: a secret may have been put where it does not belong.
std::string ReadLine(const std::vector<std::string_view>& fields, Token* token) {
  if (fields.size() < 3 || fields.size() > 4) return "is not: NAME ROLE HASH [expires=YYYY-MM-DD]";
  if (!IsPersonName(fields[0])) return "the name is not of 1 to 64 letters, digits and . - _ @";
  const std::optional<Role> role = ParseRole(fields[1]);
  if (!role) return "the role is none of view, submit and admin";
  if (!IsHash(fields[2])) return "the hash is not of 64 hexadecimal digits in lower case; a secret does not belong here";
  *token = {std::string(fields[0]), *role, std::string(fields[2]), "", 0};
  if (fields.size() == 3) return "";
  if (!fields[3].starts_with(kExpires)) return "the fourth field is not expires=YYYY-MM-DD";
  token->expires = fields[3].substr(kExpires.size());
  const std::optional<std::int64_t> end_ms = EndOfDayMs(token->expires);
  if (!end_ms) return "expires= is followed by no day YYYY-MM-DD";
  token->expires_wall_ms = *end_ms;
  return "";
}

}  // namespace

std::string_view ToString(Role role) { return kRoleTexts[static_cast<int>(role)]; }

std::optional<Role> ParseRole(std::string_view text) {
  const auto found = std::find(std::begin(kRoleTexts), std::end(kRoleTexts), text);
  if (found == std::end(kRoleTexts)) return std::nullopt;
  return static_cast<Role>(found - std::begin(kRoleTexts));
}

bool IsPersonName(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_' || c == '@';
  };
  return !name.empty() && name.size() <= kMaxNameLength && std::all_of(name.begin(), name.end(), allowed);
}

std::optional<std::int64_t> EndOfDayMs(std::string_view day) {
  if (day.size() != 10 || day[4] != '-' || day[7] != '-') return std::nullopt;
  const auto number = [&](std::size_t at, std::size_t length) {
    int value = -1;
    const auto read = std::from_chars(day.data() + at, day.data() + at + length, value);
    return read.ptr == day.data() + at + length ? value : -1;
  };
  const int year = number(0, 4), month = number(5, 2), of_month = number(8, 2);
  if (year < 1970 || month < 1 || of_month < 1) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(of_month))};
  if (!date.ok()) return std::nullopt;
  const auto end = std::chrono::sys_days(date) + std::chrono::days(1);
  return std::chrono::duration_cast<std::chrono::milliseconds>(end.time_since_epoch()).count();
}

absl::StatusOr<std::vector<Token>> ParseTokens(std::string_view text, const std::string& file) {
  std::vector<Token> tokens;
  std::set<std::string> hashes;
  std::size_t line_number = 0;
  const auto bad = [&](std::string_view why) { return absl::InvalidArgumentError(StrCat(file, ":", line_number, ": ", why)); };
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::vector<std::string_view> fields = FieldsOf(text.substr(begin, end - begin));
    begin = end + 1;
    ++line_number;
    if (fields.empty() || fields.front().starts_with('#')) continue;
    Token token;
    if (const std::string wrong = ReadLine(fields, &token); !wrong.empty()) return bad(wrong);
    if (!hashes.insert(token.hash).second) return bad("the same hash stands in an earlier line");
    tokens.push_back(std::move(token));
  }
  return tokens;
}

std::string TokenLine(const Token& token) {
  return StrCat(token.name, " ", ToString(token.role), " ", token.hash, token.expires.empty() ? "" : StrCat(" ", kExpires, token.expires));
}

std::string NewSecret(IdSource* ids) { return StrCat(kSecretPrefix, ids->Next(kSecretLength)); }

std::string HashOfSecret(std::string_view secret) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
  ::SHA256(reinterpret_cast<const unsigned char*>(secret.data()), secret.size(), digest.data());
  constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const unsigned char byte : digest) {
    hex.push_back(kDigits[byte >> 4]);
    hex.push_back(kDigits[byte & 15]);
  }
  return hex;
}

const Token* FindToken(const std::vector<Token>& tokens, std::string_view secret, std::int64_t wall_ms) {
  const std::string hash = HashOfSecret(secret);
  const Token* found = nullptr;
  for (const Token& token : tokens) {
    // All are compared, and each to its end.
    if (::CRYPTO_memcmp(token.hash.data(), hash.data(), hash.size()) == 0) found = &token;
  }
  const bool over = found != nullptr && found->expires_wall_ms != 0 && wall_ms >= found->expires_wall_ms;
  return over ? nullptr : found;
}

}  // namespace entrain::transport
