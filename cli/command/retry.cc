#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "base/strings.h"
#include "cli/command/commands.h"
#include "cli/session.h"

namespace entrain::cli::command {
namespace {

int Retry(Session* session, const std::string& id) {
  const auto response = session->client().Retry(id, session->Asker());
  if (!response.ok()) return session->Fail(response.status());
  std::string text;
  nlohmann::json ids = nlohmann::json::array();
  for (const std::string& run : response->run_ids()) {
    StrAppend(&text, run, "\n");
    ids.push_back(run);
  }
  session->Print(text.empty() ? "nothing to retry: no run failed or was cancelled\n" : text, {{"run_ids", ids}});
  return kExitOk;
}

}  // namespace

void AddRetry(CLI::App* app, Session* session) {
  const auto id = std::make_shared<std::string>();
  CLI::App* command =
      AddCommand(app, session, "retry",
      {"Queues a finished run again, or a sweep's failed and cancelled ones",
       "Each gets the next generation: a new run from step 0; the old one keeps its state. Prints the new runs' ids.",
       "  entrain retry r4f2\n  entrain retry last && entrain wait last"});
  command->add_option("RUN|SWEEP", *id, "An id, the beginning of one, a run's label, or last")->required();
  command->callback([=] { session->command = [=] { return Retry(session, *id); }; });
}

}  // namespace entrain::cli::command
