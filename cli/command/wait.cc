#include <unistd.h>

#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "base/strings.h"
#include "cli/command/commands.h"
#include "cli/json_output.h"
#include "cli/run_table.h"
#include "cli/session.h"
#include "cli/watching.h"

namespace entrain::cli::command {
namespace {

struct WaitOptions {
  std::string sweep = "last";
  double timeout_s = 0.0;
};

int Wait(Session* session, const WaitOptions& options) {
  const Interrupts interrupts;
  Display nothing(true);
  const auto timeout_ms = static_cast<std::int64_t>(options.timeout_s * 1000.0);
  const WatchEnd end = WatchToEnd(&session->client(), options.sweep, &nothing, interrupts, timeout_ms);
  if (!end.status.ok()) return session->Fail(end.status);
  if (end.signal != 0) return end.signal == SIGINT ? kExitInterrupted : kExitTerminated;
  if (end.timed_out) {
    return session->Fail(absl::DeadlineExceededError(StrCat("sweep ", options.sweep, " is not finished after ", options.timeout_s, " s")),
                         kExitTimedOut);
  }
  session->Print(RunTable(end.sweep, ColourOf(STDOUT_FILENO)), ToJson(end.sweep));
  return ExitCodeOfSweep(end.sweep);
}

}  // namespace

void AddWait(CLI::App* app, Session* session) {
  const auto options = std::make_shared<WaitOptions>();
  CLI::App* command = AddCommand(app, session, "wait",
      {"Waits until every run of a sweep is final",
       "Also across restarts of the coordinator. The exit code says how they ended: 0 all succeeded, 3 a health rule stopped some, 4 some\n"
       "failed, 5 some were cancelled (4 before 5 before 3); 6 timed out.",
       "  entrain wait\n  entrain wait s7k2 --timeout 3600\n  entrain submit sweep.yaml && entrain wait last || echo \"look at it\""});
  command->add_option("SWEEP", options->sweep, "An id, the beginning of one, or last")->capture_default_str();
  command->add_option("--timeout", options->timeout_s, "Seconds to wait at most; 0: no limit")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->callback([=] { session->command = [=] { return Wait(session, *options); }; });
}

}  // namespace entrain::cli::command
