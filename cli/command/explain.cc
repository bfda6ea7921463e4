#include <unistd.h>

#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "cli/command/commands.h"
#include "cli/json_output.h"
#include "cli/run_text.h"
#include "cli/session.h"

namespace entrain::cli::command {
namespace {

int Explain(Session* session, const std::string& id) {
  const auto run = session->client().GetRun(id);
  if (!run.ok()) return session->Fail(run.status());
  session->Print(ExplainRun(*run, ColourOf(STDOUT_FILENO)), ToJson(*run));
  return kExitOk;
}

}  // namespace

void AddExplain(CLI::App* app, Session* session) {
  const auto id = std::make_shared<std::string>();
  CLI::App* command =
      AddCommand(app, session, "explain",
      {"Says why a run waits, was stopped or failed",
       "With the numbers behind the decision: the rule, the heads, the steps, the values and the limit.",
       "  entrain explain r4f2\n  entrain explain \"SM seed=1\""});
  command->add_option("RUN", *id, "An id, the beginning of one, or a label of the newest sweep")->required();
  command->callback([=] { session->command = [=] { return Explain(session, *id); }; });
}

}  // namespace entrain::cli::command
