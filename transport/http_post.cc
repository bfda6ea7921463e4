#include "transport/http_post.h"

#include <netdb.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstring>
#include <memory>

#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::transport {
namespace {

// What is read of an answer: its status line is at the beginning.
constexpr std::size_t kMaxAnswerBytes = 16 * 1024;

absl::Status NoAnswer(const HttpUrl& url, std::string_view why) {
  return absl::UnavailableError(StrCat(url.tls ? "https" : "http", "://", url.host, ":", url.port, ": ", why));
}

class Connection {
 public:
  ~Connection() {
    if (ssl_ != nullptr) ::SSL_free(ssl_);
    if (context_ != nullptr) ::SSL_CTX_free(context_);
    if (fd_ >= 0) ::close(fd_);
  }

  absl::Status Open(const HttpUrl& url, std::int64_t timeout_ms) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (const int error = ::getaddrinfo(url.host.c_str(), url.port.c_str(), &hints, &found); error != 0) return NoAnswer(url, ::gai_strerror(error));
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses(found, &::freeaddrinfo);
    std::string why = "no address";
    for (const addrinfo* address = found; address != nullptr && fd_ < 0; address = address->ai_next) {
      const int fd = ::socket(address->ai_family, address->ai_socktype | SOCK_CLOEXEC, address->ai_protocol);
      if (fd < 0) continue;
      // The send timeout bounds the connection too.
      timeval limit{timeout_ms / 1000, timeout_ms % 1000 * 1000};
      ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
      ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
      if (::connect(fd, address->ai_addr, address->ai_addrlen) == 0) {
        fd_ = fd;
      } else {
        why = std::strerror(errno);
        ::close(fd);
      }
    }
    if (fd_ < 0) return NoAnswer(url, why);
    return url.tls ? StartTls(url) : absl::OkStatus();
  }

  bool Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto sent = ssl_ != nullptr ? static_cast<ssize_t>(::SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size())))
                                        : ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  // The answer up to the end of its status line.
  std::string Receive() {
    std::string answer;
    std::array<char, 4096> buffer;
    while (answer.find('\n') == std::string::npos && answer.size() < kMaxAnswerBytes) {
      const auto got = ssl_ != nullptr ? static_cast<ssize_t>(::SSL_read(ssl_, buffer.data(), static_cast<int>(buffer.size())))
                                       : ::recv(fd_, buffer.data(), buffer.size(), 0);
      if (got <= 0) break;
      answer.append(buffer.data(), static_cast<std::size_t>(got));
    }
    return answer;
  }

 private:
  absl::Status StartTls(const HttpUrl& url) {
    context_ = ::SSL_CTX_new(::TLS_client_method());
    if (context_ == nullptr || ::SSL_CTX_set_default_verify_paths(context_) != 1) return NoAnswer(url, "no certificate authorities");
    ::SSL_CTX_set_min_proto_version(context_, TLS1_2_VERSION);
    ssl_ = ::SSL_new(context_);
    ::SSL_set_verify(ssl_, SSL_VERIFY_PEER, nullptr);
    ::SSL_set_tlsext_host_name(ssl_, url.host.c_str());
    if (::SSL_set1_host(ssl_, url.host.c_str()) != 1 || ::SSL_set_fd(ssl_, fd_) != 1 || ::SSL_connect(ssl_) != 1) {
      const long verified = ::SSL_get_verify_result(ssl_);
      return NoAnswer(url, verified != X509_V_OK ? ::X509_verify_cert_error_string(verified) : "no TLS connection");
    }
    return absl::OkStatus();
  }

  int fd_ = -1;
  SSL_CTX* context_ = nullptr;
  SSL* ssl_ = nullptr;
};

}  // namespace

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
  Connection connection;
  ENTRAIN_RETURN_IF_ERROR(connection.Open(url, timeout_ms));
  const bool six = url.host.find(':') != std::string::npos;
  std::string request = StrCat("POST ", url.path, " HTTP/1.1\r\nHost: ", six ? "[" : "", url.host, six ? "]" : "", ":", url.port,
                               "\r\nConnection: close\r\nContent-Length: ", body.size(), "\r\n");
  for (const auto& [name, value] : headers) StrAppend(&request, name, ": ", value, "\r\n");
  StrAppend(&request, "\r\n", body);
  if (!connection.Send(request)) return NoAnswer(url, "the connection broke while sending");
  const std::string answer = connection.Receive();
  int code = 0;
  const bool http = answer.starts_with("HTTP/1.") && answer.size() > 12 && answer[8] == ' ';
  if (http) std::from_chars(answer.data() + 9, answer.data() + 12, code);
  if (code < 100) return NoAnswer(url, answer.empty() ? "no answer" : "the answer is not HTTP");
  return code;
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
