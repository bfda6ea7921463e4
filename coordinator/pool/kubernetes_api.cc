#include "coordinator/pool/kubernetes_api.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::pool {
namespace {

constexpr char kAccountFolder[] = "/var/run/secrets/kubernetes.io/serviceaccount";
constexpr std::int64_t kFirstRetryMs = 250;
constexpr std::int64_t kLongestRetryMs = 4'000;
constexpr int kPageItems = 100;
// With kPageItems more than the largest pool has.
constexpr int kMaxPages = 200;

std::string Trimmed(std::string text) {
  const auto blank = [](char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; };
  while (!text.empty() && blank(text.back())) text.pop_back();
  text.erase(text.begin(), std::find_if_not(text.begin(), text.end(), blank));
  return text;
}

absl::StatusOr<std::string> ServerFromEnvironment() {
  const char* host = std::getenv("KUBERNETES_SERVICE_HOST");
  const char* port = std::getenv("KUBERNETES_SERVICE_PORT");
  if (host == nullptr || *host == '\0') {
    return absl::FailedPreconditionError("KUBERNETES_SERVICE_HOST is not set: this is no pod; name the API server in the pool file (kubernetes.server)");
  }
  const bool six = std::string_view(host).find(':') != std::string_view::npos;
  return StrCat("https://", six ? "[" : "", host, six ? "]" : "", ":", port == nullptr || *port == '\0' ? "443" : port);
}

}  // namespace

absl::StatusOr<KubernetesAccess> FindKubernetes(const std::string& server, const std::string& account_folder, const std::string& name_space) {
  const std::string folder = account_folder.empty() ? kAccountFolder : account_folder;
  KubernetesAccess access{.server = server, .token_file = folder + "/token", .ca_file = folder + "/ca.crt", .name_space = name_space};
  if (server.empty()) {
    ENTRAIN_ASSIGN_OR_RETURN(access.server, ServerFromEnvironment());
  }
  // The token would go to whoever listens there.
  if (!access.server.starts_with("https://")) return absl::FailedPreconditionError(StrCat("the API server ", access.server, " is not https://HOST[:PORT]"));
  while (access.server.ends_with('/')) access.server.pop_back();
  for (const std::string& file : {access.token_file, access.ca_file}) {
    if (const auto read = ReadFile(file); !read.ok()) return absl::FailedPreconditionError(StrCat("the pod's account: ", read.status().message()));
  }
  if (access.name_space.empty()) {
    const auto read = ReadFile(folder + "/namespace");
    if (!read.ok()) return absl::FailedPreconditionError(StrCat("the pod's account: ", read.status().message()));
    access.name_space = Trimmed(*read);
  }
  return access;
}

// What one try came to: an answer to hand on, or a reason to try again.
struct KubernetesApi::Try {
  std::optional<ApiAnswer> answer;
  std::string why;
  std::int64_t retry_after_s = -1;
};

KubernetesApi::KubernetesApi(KubernetesAccess access, const Clock* clock, Pause pause, std::int64_t call_limit_ms)
    : access_(std::move(access)), clock_(clock), pause_(std::move(pause)), call_limit_ms_(call_limit_ms) {}

KubernetesApi::Try KubernetesApi::Once(const ApiRequest& request, std::int64_t timeout_ms) {
  Try result;
  const absl::StatusOr<std::string> token = ReadFile(access_.token_file);
  if (!token.ok()) {
    result.why = std::string(token.status().message());
    return result;
  }
  transport::HttpRequest http;
  http.method = request.method;
  http.url = StrCat(access_.server, request.path, request.query.empty() ? "" : "?", request.query);
  http.headers = {{"Authorization", "Bearer " + Trimmed(*token)}, {"Accept", "application/json"}, {"User-Agent", "entrain"}};
  if (!request.body.is_null()) {
    http.headers["Content-Type"] = "application/json";
    http.body = request.body.dump();
  }
  http.timeout_ms = timeout_ms;
  http.ca_file = access_.ca_file;
  const absl::StatusOr<transport::HttpAnswer> answer = client_.Send(http);
  if (!answer.ok()) {
    result.why = std::string(answer.status().message());
    return result;
  }
  nlohmann::json body = nlohmann::json::parse(answer->body, nullptr, false);
  const ApiAnswer whole{answer->code, body.is_object() ? std::move(body) : nlohmann::json::object()};
  result.retry_after_s = answer->retry_after_s;
  if (answer->code == 429 || answer->code >= 500 || answer->code < 200) {
    result.why = StrCat("answered ", answer->code, " ", OneLine(TextAt(whole.body, {"message"})));
  } else if (whole.ok() && whole.body.empty()) {
    result.why = StrCat("answered ", answer->code, " with ", answer->body.size(), " bytes that are no JSON object");
  } else {
    result.answer = whole;
  }
  return result;
}

absl::StatusOr<ApiAnswer> KubernetesApi::Call(const ApiRequest& request) { return CallUntil(request, clock_->BootMs() + call_limit_ms_); }

absl::StatusOr<ApiAnswer> KubernetesApi::CallUntil(const ApiRequest& request, std::int64_t end_ms) {
  std::int64_t pause_ms = kFirstRetryMs;
  for (int tries = 1;; ++tries) {
    Try result = Once(request, std::clamp<std::int64_t>(end_ms - clock_->BootMs(), 1, call_limit_ms_ / 3));
    if (result.answer) return *std::move(result.answer);
    const std::int64_t wait_ms = std::max(pause_ms, std::min<std::int64_t>(result.retry_after_s, 86'400) * 1000);
    if (clock_->BootMs() + wait_ms >= end_ms) {
      const std::string later = result.retry_after_s > 0 ? StrCat("; asks to wait ", result.retry_after_s, " s") : "";
      return absl::UnavailableError(StrCat(request.method, " ", request.path, ": ", result.why, later, " (", tries, tries == 1 ? " try)" : " tries)"));
    }
    if (!pause_(wait_ms)) return absl::CancelledError("ending");
    pause_ms = std::min(2 * pause_ms, kLongestRetryMs);
  }
}

absl::StatusOr<nlohmann::json> KubernetesApi::List(const std::string& path, const std::string& label_selector) {
  const std::int64_t end_ms = clock_->BootMs() + call_limit_ms_;
  bool again = true;
  nlohmann::json items = nlohmann::json::array();
  std::string next;
  for (int page = 0; page < kMaxPages; ++page) {
    ApiRequest request{.path = path, .query = StrCat("labelSelector=", UrlEncoded(label_selector), "&limit=", kPageItems), .body = nullptr};
    if (!next.empty()) StrAppend(&request.query, "&continue=", UrlEncoded(next));
    ENTRAIN_ASSIGN_OR_RETURN(const ApiAnswer answer, CallUntil(request, end_ms));
    if (answer.code == 410 && again) {
      again = false;
      next.clear();
      items.clear();
      continue;
    }
    if (!answer.ok()) return Refusal(request, answer);
    const nlohmann::json& found = At(answer.body, {"items"});
    if (!found.is_array()) return absl::UnavailableError(StrCat("GET ", path, ": the answer is no list"));
    items.insert(items.end(), found.begin(), found.end());
    next = TextAt(answer.body, {"metadata", "continue"});
    if (next.empty()) return items;
  }
  return absl::UnavailableError(StrCat("GET ", path, ": more than ", kMaxPages * kPageItems, " items"));
}

absl::Status Refusal(const ApiRequest& request, const ApiAnswer& answer) {
  const std::string message = OneLine(TextAt(answer.body, {"message"}));
  const std::string text = StrCat(request.method, " ", request.path, ": ", answer.code, " ", ReasonOf(answer), message.empty() ? "" : ": ", message);
  return message.find("exceeded quota") != std::string::npos ? absl::ResourceExhaustedError(text) : absl::FailedPreconditionError(text);
}

std::string ReasonOf(const ApiAnswer& answer) { return TextAt(answer.body, {"reason"}); }

std::string UrlEncoded(std::string_view text) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string encoded;
  for (const unsigned char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
    if (plain) {
      encoded.push_back(static_cast<char>(c));
    } else {
      encoded += {'%', kDigits[c >> 4], kDigits[c & 15]};
    }
  }
  return encoded;
}

const nlohmann::json& At(const nlohmann::json& object, std::initializer_list<const char*> keys) {
  static const nlohmann::json kNull;
  const nlohmann::json* value = &object;
  for (const char* key : keys) {
    if (!value->is_object()) return kNull;
    const auto found = value->find(key);
    if (found == value->end()) return kNull;
    value = &*found;
  }
  return *value;
}

std::string TextAt(const nlohmann::json& object, std::initializer_list<const char*> keys) {
  const nlohmann::json& value = At(object, keys);
  return value.is_string() ? value.get<std::string>() : "";
}

std::string OneLine(std::string_view text, std::size_t limit) {
  std::string line(text.substr(0, limit));
  if (text.size() > limit) {
    // Not within a character of several bytes.
    while (!line.empty() && (static_cast<unsigned char>(text[line.size()]) & 0xc0) == 0x80) line.pop_back();
    line += "...";
  }
  std::replace_if(line.begin(), line.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; }, ' ');
  return line;
}

}  // namespace entrain::pool
