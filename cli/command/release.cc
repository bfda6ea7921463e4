#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "base/strings.h"
#include "cli/command/commands.h"
#include "cli/session.h"

namespace entrain::cli::command {
namespace {

int Release(Session* session, const std::string& id) {
  const auto sweep = session->client().Release(id, session->Asker());
  if (!sweep.ok()) return session->Fail(sweep.status());
  session->Print(StrCat("sweep ", *sweep, " is released: its checkpoints may be deleted\n"), {{"sweep_id", *sweep}});
  return kExitOk;
}

}  // namespace

void AddRelease(CLI::App* app, Session* session) {
  const auto id = std::make_shared<std::string>();
  CLI::App* command = AddCommand(app, session, "release",
      {"Says that nobody needs a finished sweep's checkpoints any more",
       "Retention keeps the last, the best and the last healthy checkpoint of every run until its sweep is released; then they go by age\n"
       "or when space is short. Its numbers, its report and its configuration stay. A retry takes the release back.",
       "  entrain release scm62zf1j\n  entrain gc"});
  command->add_option("SWEEP", *id, "An id, the beginning of one, or last")->required();
  command->callback([=] { session->command = [=] { return Release(session, *id); }; });
}

}  // namespace entrain::cli::command
