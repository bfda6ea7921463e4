#include <unistd.h>

#include <memory>

#include "CLI/CLI.hpp"
#include "base/strings.h"
#include "cli/command/commands.h"
#include "cli/format.h"
#include "cli/json_output.h"
#include "cli/run_table.h"
#include "cli/session.h"
#include "cli/table.h"

namespace entrain::cli::command {
namespace {

// Ids of all sweeps and of the newest sweep's runs, for scripts and shell completion.
int PrintIds(Session* session, const v1::ListSweepsResponse& sweeps) {
  std::string text;
  nlohmann::json ids = nlohmann::json::array();
  const auto add = [&](const std::string& id) {
    StrAppend(&text, id, "\n");
    ids.push_back(id);
  };
  for (const v1::SweepSummary& sweep : sweeps.sweeps()) add(sweep.id());
  if (sweeps.sweeps_size() > 0) {
    const auto newest = session->client().GetSweep("last");
    if (!newest.ok()) return session->Fail(newest.status());
    for (const v1::RunSummary& run : newest->runs()) add(run.id());
  }
  session->Print(text, ids);
  return kExitOk;
}

int List(Session* session, bool ids_only) {
  const auto sweeps = session->client().ListSweeps();
  if (!sweeps.ok()) return session->Fail(sweeps.status());
  if (ids_only) return PrintIds(session, *sweeps);
  Table table({{"SWEEP"}, {"NAME"}, {"OWNER"}, {"CREATED"}, {"RUNS", Align::kRight}, {"STATES"}});
  nlohmann::json list = nlohmann::json::array();
  for (const v1::SweepSummary& sweep : sweeps->sweeps()) {
    table.Add({sweep.id(), sweep.name(), sweep.owner(), FormatUtc(sweep.created_wall_ms()), StrCat(sweep.run_count()),
               CountsText(sweep)});
    list.push_back(ToJson(sweep));
  }
  session->Print(table.empty() ? "no sweeps yet; `entrain submit SWEEP.yaml` makes one\n" : table.Text(ColourOf(STDOUT_FILENO)),
                 list);
  return kExitOk;
}

}  // namespace

void AddList(CLI::App* app, Session* session) {
  const auto ids_only = std::make_shared<bool>(false);
  CLI::App* command = AddCommand(app, session, "list",
      {"Lists the sweeps, oldest first",
       "",
       "  entrain list\n  entrain list -o json | jq '.[].id'\n  entrain list --ids"});
  command->add_flag("--ids", *ids_only, "Only ids: of every sweep and of the newest sweep's runs");
  command->callback([=] { session->command = [=] { return List(session, *ids_only); }; });
}

}  // namespace entrain::cli::command
