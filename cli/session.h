// What every command shares: where the coordinator is, how results and errors are written, and the command that was chosen.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cli/client.h"
#include "cli/colour.h"
#include "cli/exit_code.h"
#include "nlohmann/json.hpp"
#include "sweep/sweep.h"
#include "transport/tls.h"

namespace CLI {
class App;
}

namespace entrain::cli {

class Session {
 public:
  // Options of every command.
  std::string coordinator;        // empty: CoordinatorAddress() decides
  std::string output = "table";   // or "json"
  transport::TlsFiles tls;
  std::string token_file;         // of the token that is shown to the coordinator; empty: ENTRAIN_TOKEN
  // Set by the parsed command; main runs it.
  std::function<int()> command;

  bool json() const { return output == "json"; }
  // --coordinator, else ENTRAIN_COORDINATOR, else the `entrain local` that runs in this folder, else 127.0.0.1:7070.
  std::string CoordinatorAddress() const;
  Client& client();
  // Takes the token from its file or the environment, where no program started from here finds it any more. INVALID_ARGUMENT when it cannot be
  // used; never shows it.
  absl::Status ReadToken();
  // Who asks, as requests name it: nobody where a token says it.
  std::string Asker() const { return token_.empty() ? Owner() : ""; }
  // The login name.
  static std::string Owner();

  // The command's one result: `table` on standard output, or `json` with --output json.
  void Print(const std::string& table, const nlohmann::json& json) const;
  // Says what went wrong on standard error, as {"error": ...} with --output json; returns the exit code.
  int Fail(const absl::Status& status) const { return Fail(status, ExitCodeOf(status)); }
  int Fail(const absl::Status& status, int exit_code) const;
  // Every problem as file:line:column: field: message; returns kExitBadSweep.
  int FailProblems(const std::string& file, const std::vector<sweep::Problem>& problems) const;
  // A remark for people on standard error; nothing with --output json.
  void Remark(const std::string& text) const;

 private:
  std::unique_ptr<Client> client_;
  std::string token_;
};

// What a command's help says: a short line for the list of commands, more for its own page, and examples, a line each.
struct Help {
  std::string summary;
  std::string details;
  std::string examples;
};
// Adds a subcommand with the common options.
CLI::App* AddCommand(CLI::App* app, Session* session, const std::string& name, const Help& help);

}  // namespace entrain::cli
