#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "cli/command/commands.h"
#include "cli/json_output.h"
#include "cli/session.h"
#include "cli/watching.h"

namespace entrain::cli::command {
namespace {

int Watch(Session* session, const std::string& sweep) {
  const Interrupts interrupts;
  WatchEnd end;
  {
    Display display(session->json(), session->Asker());
    end = WatchToEnd(&session->client(), sweep, &display, interrupts);
  }
  if (!end.status.ok()) return session->Fail(end.status);
  if (session->json()) session->Print("", ToJson(end.sweep));
  // Leaving the view is not an error; the sweep goes on.
  if (end.signal == SIGTERM) return kExitTerminated;
  return end.finished ? ExitCodeOfSweep(end.sweep) : kExitOk;
}

}  // namespace

void AddWatch(CLI::App* app, Session* session) {
  const auto sweep = std::make_shared<std::string>("last");
  CLI::App* command = AddCommand(app, session, "watch",
      {"Shows a sweep live until every run is final",
       "Progress, loss, perplexity and the entropy of every head. Elsewhere than on a terminal it prints a line for each change. Ctrl-C\n"
       "leaves the view, the sweep goes on. Exit codes as of `entrain wait`.",
       "  entrain watch\n  entrain watch s7k2 | tee sweep.log"});
  command->add_option("SWEEP", *sweep, "An id, the beginning of one, or last")->capture_default_str();
  command->callback([=] { session->command = [=] { return Watch(session, *sweep); }; });
}

}  // namespace entrain::cli::command
