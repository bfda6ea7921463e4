#include "transport/http_post.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

#include "base/status_macros.h"
#include "base/strings.h"
#include "transport/http_client.h"

namespace entrain::transport {

absl::StatusOr<HttpUrl> ParseHttpUrl(std::string_view text) {
  const auto bad = [&](std::string_view why) { return absl::InvalidArgumentError(StrCat("\"", text, "\" ", why)); };
  const auto control = [](unsigned char c) { return c <= ' ' || c == 0x7f; };
  if (std::any_of(text.begin(), text.end(), control)) return bad("holds blanks or control characters");
  HttpUrl url;
  url.tls = text.starts_with("https://");
  if (!url.tls && !text.starts_with("http://")) return bad("is not http://HOST or https://HOST");
  std::string_view rest = text.substr(url.tls ? 8 : 7);
  const std::size_t slash = std::min(rest.find_first_of("/?#"), rest.size());
  url.path = rest.substr(slash, rest.find('#') == std::string_view::npos ? std::string_view::npos : rest.find('#') - slash);
  if (!url.path.starts_with('/')) url.path = "/" + url.path;
  std::string_view authority = rest.substr(0, slash);
  if (authority.find('@') != std::string_view::npos) return bad("holds a user name; the signature says who sends");
  url.port = url.tls ? "443" : "80";
  const std::size_t bracket = authority.rfind(']');
  const std::size_t colon = authority.rfind(':');
  if (colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket)) {
    url.port = authority.substr(colon + 1);
    authority = authority.substr(0, colon);
  }
  if (authority.starts_with('[') && authority.ends_with(']')) authority = authority.substr(1, authority.size() - 2);
  url.host = authority;
  int port = 0;
  const auto read = std::from_chars(url.port.data(), url.port.data() + url.port.size(), port);
  if (read.ec != std::errc() || read.ptr != url.port.data() + url.port.size() || port < 1 || port > 65535) return bad("has no usable port");
  if (url.host.empty()) return bad("names no host");
  return url;
}

absl::StatusOr<int> HttpPost(const HttpUrl& url, const std::map<std::string, std::string>& headers, std::string_view body,
                             std::int64_t timeout_ms) {
  const bool six = url.host.find(':') != std::string::npos;
  HttpRequest request;
  request.method = "POST";
  request.url = StrCat(url.tls ? "https" : "http", "://", six ? "[" : "", url.host, six ? "]" : "", ":", url.port, url.path);
  request.headers = headers;
  request.headers["Connection"] = "close";
  request.body = body;
  request.timeout_ms = timeout_ms;
  request.max_answer_bytes = 0;
  HttpClient client;
  ENTRAIN_ASSIGN_OR_RETURN(const HttpAnswer answer, client.Send(request));
  if (answer.code < 100) return absl::UnavailableError(StrCat(url.host, ":", url.port, ": the answer is not HTTP"));
  return answer.code;
}

std::string HmacSha256Hex(std::string_view secret, std::string_view message) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  ::HMAC(::EVP_sha256(), secret.data(), static_cast<int>(secret.size()), reinterpret_cast<const unsigned char*>(message.data()), message.size(),
         digest.data(), &size);
  std::string hex;
  constexpr char kDigits[] = "0123456789abcdef";
  for (unsigned int i = 0; i < size; ++i) {
    hex.push_back(kDigits[digest[i] >> 4]);
    hex.push_back(kDigits[digest[i] & 15]);
  }
  return hex;
}

}  // namespace entrain::transport
