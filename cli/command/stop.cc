#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "base/strings.h"
#include "cli/command/commands.h"
#include "cli/session.h"

namespace entrain::cli::command {
namespace {

int Stop(Session* session, const std::string& id) {
  const auto runs = session->client().Stop(id, session->Asker());
  if (!runs.ok()) return session->Fail(runs.status());
  session->Print(StrCat(*runs, *runs == 1 ? " run" : " runs", " told to stop\n"), {{"runs", *runs}});
  return kExitOk;
}

}  // namespace

void AddStop(CLI::App* app, Session* session) {
  const auto id = std::make_shared<std::string>();
  CLI::App* command = AddCommand(app, session, "stop",
      {"Stops a run, or every run of a sweep that is not finished",
       "Running gangs write a checkpoint first; the runs end cancelled.",
       "  entrain stop r4f2\n  entrain stop last\n  entrain stop \"SM+G seed=2\""});
  command->add_option("RUN|SWEEP", *id, "An id, the beginning of one, a run's label, or last")->required();
  command->callback([=] { session->command = [=] { return Stop(session, *id); }; });
}

}  // namespace entrain::cli::command
