// HTTP requests of one thread, over libcurl: http and https, the connection kept between requests. No redirects, no proxies, and nothing is
// taken from the environment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"

namespace entrain::transport {

struct HttpRequest {
  std::string method = "GET";
  std::string url;
  std::map<std::string, std::string> headers;
  std::string body;
  std::int64_t timeout_ms = 10'000;                   // of the whole exchange, from the name's look-up to the answer's last byte
  std::size_t max_answer_bytes = 8 * 1024 * 1024;     // 0: the answer's body is not wanted, and the exchange ends with its head
  std::string ca_file;                                // PEM; empty: the system's authorities. Read again for every new connection
};

struct HttpAnswer {
  int code = 0;
  std::string body;
  std::int64_t retry_after_s = -1;  // the Retry-After header where it is a number of seconds; -1: none
};

// Not thread-safe.
class HttpClient {
 public:
  HttpClient();
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Any answer, whatever its code. UNAVAILABLE: none within the time, or no trust in who answers; RESOURCE_EXHAUSTED: a larger one than
  // asked for; INVALID_ARGUMENT: a method or header that cannot be sent. The message names the address and never a header.
  absl::StatusOr<HttpAnswer> Send(const HttpRequest& request);

 private:
  void* const handle_;  // libcurl's CURL*
};

}  // namespace entrain::transport
