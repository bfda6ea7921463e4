// One HTTP POST at a time, for notices to people's own services: http and https, no redirects, no proxies.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace entrain::transport {

struct HttpUrl {
  bool tls = false;
  std::string host;
  std::string port;  // digits
  std::string path;  // with its query; begins with '/'
};
// http://HOST[:PORT][/PATH] or https://...; HOST may be [::1]. INVALID_ARGUMENT otherwise, and for user names or control characters.
absl::StatusOr<HttpUrl> ParseHttpUrl(std::string_view url);

// The status code of the answer. UNAVAILABLE when there is none within the time; over
// https the certificate must be of the system's authorities and name the host. Blocks; any thread.
absl::StatusOr<int> HttpPost(const HttpUrl& url, const std::map<std::string, std::string>& headers, std::string_view body,
                             std::int64_t timeout_ms);

// 64 hexadecimal digits.
std::string HmacSha256Hex(std::string_view secret, std::string_view message);

}  // namespace entrain::transport
