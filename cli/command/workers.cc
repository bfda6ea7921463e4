#include <unistd.h>

#include "CLI/CLI.hpp"
#include "base/strings.h"
#include "cli/command/commands.h"
#include "cli/json_output.h"
#include "cli/session.h"
#include "cli/table.h"

namespace entrain::cli::command {
namespace {

int Workers(Session* session) {
  const auto workers = session->client().ListWorkers();
  if (!workers.ok()) return session->Fail(workers.status());
  Table table({{"WORKER"}, {"NAME"}, {"STATE"}, {"SLOTS"}, {"DEVICE"}, {"VERSION"}});
  nlohmann::json list = nlohmann::json::array();
  for (const v1::WorkerSummary& worker : workers->workers()) {
    table.Add({worker.id(), worker.name(), worker.state(),
               StrCat(worker.slots_used(), "/", worker.slots(), " ", worker.slot_kind()), worker.device(), worker.version()},
              2, worker.state() == "live" ? Style::kGreen : Style::kYellow);
    list.push_back(ToJson(worker));
  }
  session->Print(table.empty() ? "no workers yet; start one with entrain-worker --coordinator HOST:PORT\n"
                               : table.Text(ColourOf(STDOUT_FILENO)),
                 list);
  return kExitOk;
}

}  // namespace

void AddWorkers(CLI::App* app, Session* session) {
  CLI::App* command = AddCommand(app, session, "workers",
      {"Lists the workers with their slots (used/all)",
       "",
       "  entrain workers\n  entrain workers -o json"});
  command->callback([=] { session->command = [=] { return Workers(session); }; });
}

}  // namespace entrain::cli::command
