#include "transport/http_client.h"

#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <mutex>
#include <string_view>

#include "base/check.h"
#include "base/strings.h"

namespace entrain::transport {
namespace {

// What the callbacks write to while one exchange runs.
struct Exchange {
  HttpAnswer answer;
  std::size_t max_bytes = 0;
  bool too_large = false;
};

void* NewHandle() {
  static std::once_flag once;
  std::call_once(once, [] { ENTRAIN_CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK); });
  CURL* handle = curl_easy_init();
  ENTRAIN_CHECK(handle != nullptr);
  return handle;
}

// libcurl's callbacks: another count than what was given ends the exchange.
std::size_t TakeBody(char* bytes, std::size_t, std::size_t count, void* target) {
  auto* exchange = static_cast<Exchange*>(target);
  if (count > exchange->max_bytes - exchange->answer.body.size()) {
    exchange->too_large = true;
    return 0;
  }
  exchange->answer.body.append(bytes, count);
  return count;
}

std::size_t TakeHeader(char* bytes, std::size_t, std::size_t count, void* target) {
  constexpr std::string_view kName = "retry-after:";
  std::string_view line(bytes, count);
  // A new head: what an informational answer said before does not count.
  if (line.starts_with("HTTP/")) static_cast<Exchange*>(target)->answer.retry_after_s = -1;
  const auto same = [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b; };
  if (line.size() <= kName.size() || !std::equal(kName.begin(), kName.end(), line.begin(), [&](char b, char a) { return same(a, b); })) return count;
  line.remove_prefix(kName.size());
  while (!line.empty() && line.front() == ' ') line.remove_prefix(1);
  std::int64_t seconds = -1;
  const auto read = std::from_chars(line.data(), line.data() + line.size(), seconds);
  const bool whole = read.ec == std::errc() && (read.ptr == line.data() + line.size() || *read.ptr == '\r' || *read.ptr == ' ');
  if (whole && seconds >= 0) static_cast<Exchange*>(target)->answer.retry_after_s = seconds;
  return count;
}

bool HasControl(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; });
}

// Scheme, host and port alone: a path or query may hold what is nobody's business.
std::string_view Origin(std::string_view url) {
  const std::size_t host = url.find("://");
  return url.substr(0, host == std::string_view::npos ? url.size() : url.find_first_of("/?#", host + 3));
}

void SetLimits(CURL* handle, const HttpRequest& request) {
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(handle, CURLOPT_PROXY, "");
  curl_easy_setopt(handle, CURLOPT_NETRC, CURL_NETRC_IGNORED);
  curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, static_cast<long>(request.timeout_ms));
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(request.timeout_ms));
}

void SetTrust(CURL* handle, const HttpRequest& request) {
  curl_easy_setopt(handle, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
  curl_easy_setopt(handle, CURLOPT_SSL_VERIFYPEER, 1L);
  curl_easy_setopt(handle, CURLOPT_SSL_VERIFYHOST, 2L);
  curl_easy_setopt(handle, CURLOPT_CA_CACHE_TIMEOUT, 0L);
  if (request.ca_file.empty()) return;
  curl_easy_setopt(handle, CURLOPT_CAINFO, request.ca_file.c_str());
  curl_easy_setopt(handle, CURLOPT_CAPATH, nullptr);
}

// Whether there is a body is said by the method, so that an empty one is sent as such.
void SetMethod(CURL* handle, const HttpRequest& request) {
  if (request.method == "GET" && request.body.empty()) {
    curl_easy_setopt(handle, CURLOPT_HTTPGET, 1L);
    return;
  }
  curl_easy_setopt(handle, CURLOPT_POSTFIELDS, request.body.data());
  curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
  curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, request.method.c_str());
}

using HeaderList = std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)>;

HeaderList HeadersOf(const HttpRequest& request) {
  HeaderList list(nullptr, &curl_slist_free_all);
  const auto add = [&](const std::string& line) { list.reset(curl_slist_append(list.release(), line.c_str())); };
  for (const auto& [name, value] : request.headers) add(value.empty() ? StrCat(name, ";") : StrCat(name, ": ", value));
  add("Expect:");
  return list;
}

}  // namespace

HttpClient::HttpClient() : handle_(NewHandle()) {}

HttpClient::~HttpClient() { curl_easy_cleanup(handle_); }

absl::StatusOr<HttpAnswer> HttpClient::Send(const HttpRequest& request) {
  for (const auto& [name, value] : request.headers) {
    if (HasControl(name) || HasControl(value)) return absl::InvalidArgumentError(StrCat("the header ", HasControl(name) ? "" : name, " holds control characters"));
  }
  if (HasControl(request.method) || HasControl(request.url)) return absl::InvalidArgumentError("the method or the address holds control characters");
  // Forgets the last request's options and keeps its connection.
  curl_easy_reset(handle_);
  Exchange exchange;
  exchange.max_bytes = request.max_answer_bytes;
  std::array<char, CURL_ERROR_SIZE> why{};
  const HeaderList headers = HeadersOf(request);
  curl_easy_setopt(handle_, CURLOPT_URL, request.url.c_str());
  SetLimits(handle_, request);
  SetTrust(handle_, request);
  SetMethod(handle_, request);
  curl_easy_setopt(handle_, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(handle_, CURLOPT_ERRORBUFFER, why.data());
  curl_easy_setopt(handle_, CURLOPT_WRITEFUNCTION, &TakeBody);
  curl_easy_setopt(handle_, CURLOPT_WRITEDATA, &exchange);
  curl_easy_setopt(handle_, CURLOPT_HEADERFUNCTION, &TakeHeader);
  curl_easy_setopt(handle_, CURLOPT_HEADERDATA, &exchange);
  const CURLcode result = curl_easy_perform(handle_);
  long code = 0;
  curl_easy_getinfo(handle_, CURLINFO_RESPONSE_CODE, &code);
  exchange.answer.code = static_cast<int>(code);
  const bool head_suffices = exchange.too_large && request.max_answer_bytes == 0;
  if (result == CURLE_OK || head_suffices) return std::move(exchange.answer);
  const std::string where(Origin(request.url));
  if (exchange.too_large) return absl::ResourceExhaustedError(StrCat(where, ": the answer is larger than ", request.max_answer_bytes, " bytes"));
  return absl::UnavailableError(StrCat(where, ": ", why[0] != '\0' ? why.data() : curl_easy_strerror(result)));
}

}  // namespace entrain::transport
