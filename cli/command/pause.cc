#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "base/strings.h"
#include "cli/command/commands.h"
#include "cli/session.h"

namespace entrain::cli::command {
namespace {

int Pause(Session* session, const std::string& id) {
  const auto runs = session->client().Pause(id, session->Asker());
  if (!runs.ok()) return session->Fail(runs.status());
  session->Print(StrCat(*runs, *runs == 1 ? " run" : " runs", " told to pause\n"), {{"runs", *runs}});
  return kExitOk;
}

}  // namespace

void AddPause(CLI::App* app, Session* session) {
  const auto id = std::make_shared<std::string>();
  CLI::App* command = AddCommand(app, session, "pause",
      {"Pauses a run or a sweep",
       "Running gangs write a checkpoint and give their slots back until `entrain resume`.",
       "  entrain pause last\n  entrain resume last"});
  command->add_option("RUN|SWEEP", *id, "An id, the beginning of one, a run's label, or last")->required();
  command->callback([=] { session->command = [=] { return Pause(session, *id); }; });
}

}  // namespace entrain::cli::command
