#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "base/strings.h"
#include "cli/command/commands.h"
#include "cli/session.h"

namespace entrain::cli::command {
namespace {

int Resume(Session* session, const std::string& id) {
  const auto runs = session->client().Resume(id, session->Asker());
  if (!runs.ok()) return session->Fail(runs.status());
  session->Print(StrCat(*runs, *runs == 1 ? " run" : " runs", " queued again\n"), {{"runs", *runs}});
  return kExitOk;
}

}  // namespace

void AddResume(CLI::App* app, Session* session) {
  const auto id = std::make_shared<std::string>();
  CLI::App* command = AddCommand(app, session, "resume",
      {"Lets paused runs go on from their checkpoints",
       "",
       "  entrain resume last\n  entrain resume r4f2"});
  command->add_option("RUN|SWEEP", *id, "An id, the beginning of one, a run's label, or last")->required();
  command->callback([=] { session->command = [=] { return Resume(session, *id); }; });
}

}  // namespace entrain::cli::command
