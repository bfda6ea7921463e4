// Kubernetes' API server as its clients see it: requests with the pod's own account over HTTPS, tried again where that can help.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "transport/http_client.h"

namespace entrain::pool {

struct KubernetesAccess {
  std::string server;       // https://HOST:PORT
  std::string token_file;   // read for every request: the kubelet renews it
  std::string ca_file;      // read for every connection
  std::string name_space;
};

// What a pod finds: the service's address in the environment, token, authorities and namespace in the account's folder. Each argument that
// is not empty stands instead of what would be found. FAILED_PRECONDITION names what is missing.
absl::StatusOr<KubernetesAccess> FindKubernetes(const std::string& server, const std::string& account_folder, const std::string& name_space);

// False when the caller is to end instead of waiting so long.
using Pause = std::function<bool(std::int64_t ms)>;

inline constexpr std::int64_t kKubernetesCallLimitMs = 15'000;

struct ApiRequest {
  std::string method = "GET";
  std::string path;                  // /api/v1/...
  std::string query;                 // already encoded; without '?'
  nlohmann::json body;               // null: none
};

struct ApiAnswer {
  int code = 0;         // below 500 and not 429
  nlohmann::json body;  // an object
  bool ok() const { return code >= 200 && code < 300; }
};

// One thread uses it.
class KubernetesApi {
 public:
  // Call and List with all their tries end within `call_limit_ms`, one try within a third of it.
  KubernetesApi(KubernetesAccess access, const Clock* clock, Pause pause, std::int64_t call_limit_ms = kKubernetesCallLimitMs);

  // Tries again, ever later, after a broken connection, 429 and 5xx, not before the time that Retry-After names; so a request must be one
  // that may arrive twice. UNAVAILABLE with the last reason; also for answers that are too large or no JSON objects. CANCELLED when
  // a pause was cut short.
  absl::StatusOr<ApiAnswer> Call(const ApiRequest& request);
  // All pages of a list's items. A list that expired between two pages is begun again once.
  absl::StatusOr<nlohmann::json> List(const std::string& path, const std::string& label_selector);

  const KubernetesAccess& access() const { return access_; }

 private:
  struct Try;
  Try Once(const ApiRequest& request, std::int64_t timeout_ms);
  absl::StatusOr<ApiAnswer> CallUntil(const ApiRequest& request, std::int64_t end_ms);

  const KubernetesAccess access_;
  const Clock* const clock_;
  const Pause pause_;
  const std::int64_t call_limit_ms_;
  transport::HttpClient client_;
};

// "PUT statefulsets/x: 403 Forbidden: ..." as RESOURCE_EXHAUSTED where a quota refuses, else FAILED_PRECONDITION.
absl::Status Refusal(const ApiRequest& request, const ApiAnswer& answer);
// The `reason` of a Status object: "AlreadyExists", "Conflict", ...; empty when it has none.
std::string ReasonOf(const ApiAnswer& answer);
// For a query: everything but letters, digits and -._~ as %XX.
std::string UrlEncoded(std::string_view text);
// The text under these keys; empty when it is not there or no text.
std::string TextAt(const nlohmann::json& object, std::initializer_list<const char*> keys);
// The value under these keys; null when it is not there.
const nlohmann::json& At(const nlohmann::json& object, std::initializer_list<const char*> keys);
// One line, no control characters, at most `limit` bytes.
std::string OneLine(std::string_view text, std::size_t limit = 300);

}  // namespace entrain::pool
