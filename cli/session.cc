#include "cli/session.h"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>

#include "CLI/CLI.hpp"
#include "base/files.h"
#include "base/strings.h"
#include "cli/format.h"
#include "cli/local/folder.h"

namespace entrain::cli {
namespace {

constexpr char kDefaultAddress[] = "127.0.0.1:7070";

// "not_found", ... as in the JSON of errors.
std::string CodeName(absl::StatusCode code) {
  std::string name = absl::StatusCodeToString(code);
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name;
}

nlohmann::json ErrorJson(const std::string& code, const std::string& message) {
  return {{"error", {{"code", code}, {"message", message}}}};
}

std::string ProblemText(const std::string& file, const sweep::Problem& problem) {
  std::string text = file;
  if (problem.line > 0) StrAppend(&text, ":", problem.line, ":", problem.column);
  if (!problem.field.empty()) StrAppend(&text, ": ", problem.field);
  return Printable(StrCat(text, ": ", problem.message));
}

}  // namespace

std::string Session::CoordinatorAddress() const {
  if (!coordinator.empty()) return coordinator;
  const char* variable = std::getenv("ENTRAIN_COORDINATOR");
  if (variable != nullptr && *variable != '\0') return variable;
  const std::string here = local::RunningCoordinator("entrain-data");
  return here.empty() ? kDefaultAddress : here;
}

Client& Session::client() {
  if (client_ == nullptr) client_ = std::make_unique<Client>(CoordinatorAddress(), tls, token_);
  return *client_;
}

absl::Status Session::ReadToken() {
  std::string source = token_file;
  if (const char* variable = std::getenv("ENTRAIN_TOKEN"); variable != nullptr) {
    token_ = variable;
    ::unsetenv("ENTRAIN_TOKEN");
    source = source.empty() ? "ENTRAIN_TOKEN" : source;
  }
  if (!token_file.empty()) {
    const absl::StatusOr<std::string> text = ReadFile(token_file);
    if (!text.ok()) return absl::InvalidArgumentError(StrCat("--token-file: ", std::string(text.status().message())));
    token_ = *text;
  }
  while (!token_.empty() && std::isspace(static_cast<unsigned char>(token_.back()))) token_.pop_back();
  if (token_.empty()) return token_file.empty() ? absl::OkStatus() : absl::InvalidArgumentError(StrCat(token_file, " holds no token"));
  const bool printable = std::all_of(token_.begin(), token_.end(), [](unsigned char c) { return c > 0x20 && c < 0x7f; });
  if (!printable || token_.size() > 1024) return absl::InvalidArgumentError(StrCat(source, " holds more than one token, or none"));
  if (tls.empty() && !transport::IsLoopback(CoordinatorAddress())) {
    return absl::InvalidArgumentError(StrCat("the token would cross the network to ", CoordinatorAddress(), " in plain text: use --tls-ca, --tls-cert and --tls-key"));
  }
  return absl::OkStatus();
}

std::string Session::Owner() {
  const passwd* entry = ::getpwuid(::getuid());
  return entry != nullptr ? entry->pw_name : StrCat("uid", ::getuid());
}

void Session::Print(const std::string& table, const nlohmann::json& value) const {
  const std::string text = json() ? value.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n" : table;
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

int Session::Fail(const absl::Status& status, int exit_code) const {
  const std::string message(status.message());
  if (json()) {
    const nlohmann::json error = ErrorJson(CodeName(status.code()), message);
    std::fprintf(stderr, "%s\n", error.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  } else {
    const std::string mark = Paint(ColourOf(STDERR_FILENO), Style::kRed, "error:");
    std::fprintf(stderr, "%s %s\n", mark.c_str(), Printable(message).c_str());
  }
  return exit_code;
}

int Session::FailProblems(const std::string& file, const std::vector<sweep::Problem>& problems) const {
  if (json()) {
    nlohmann::json error = ErrorJson("invalid_argument", StrCat(file, ": ", problems.size(), " problems"));
    for (const sweep::Problem& problem : problems) {
      error["error"]["problems"].push_back({{"file", file},
                                            {"line", problem.line},
                                            {"column", problem.column},
                                            {"field", problem.field},
                                            {"message", problem.message}});
    }
    std::fprintf(stderr, "%s\n", error.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    return kExitBadSweep;
  }
  for (const sweep::Problem& problem : problems) std::fprintf(stderr, "%s\n", ProblemText(file, problem).c_str());
  return kExitBadSweep;
}

void Session::Remark(const std::string& text) const {
  if (!json()) std::fprintf(stderr, "%s\n", Printable(text).c_str());
}

CLI::App* AddCommand(CLI::App* app, Session* session, const std::string& name, const Help& help) {
  CLI::App* command = app->add_subcommand(name, help.summary);
  command->add_option("--coordinator", session->coordinator, "Coordinator's HOST:PORT, several separated by commas (or set ENTRAIN_COORDINATOR)")
      ->group("Common options");
  const auto tls_file = [&](const char* flag, const char* variable, std::string* file, const char* text) {
    command->add_option(flag, *file, text)->envname(variable)->group("Common options");
  };
  tls_file("--tls-ca", "ENTRAIN_TLS_CA", &session->tls.ca, "Certificates that the coordinator's is checked against (PEM); turns TLS on");
  tls_file("--tls-cert", "ENTRAIN_TLS_CERT", &session->tls.certificate, "Your certificate (PEM)");
  tls_file("--tls-key", "ENTRAIN_TLS_KEY", &session->tls.key, "Its private key (PEM)");
  command->add_option("--token-file", session->token_file, "File with your token (or set ENTRAIN_TOKEN to the token itself)")
      ->envname("ENTRAIN_TOKEN_FILE")->group("Common options");
  // Those write a file or a folder as well.
  if (name != "report" && name != "fetch" && name != "export" && name != "test") {
    command->add_option("-o,--output", session->output, "How results are written: table or json")
        ->check(CLI::IsMember({"table", "json"}))
        ->group("Common options");
  }
  command->footer(StrCat(help.details, help.details.empty() ? "" : "\n\n", "Examples:\n", help.examples));
  return command;
}

}  // namespace entrain::cli
