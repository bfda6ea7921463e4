#include <unistd.h>

#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "base/strings.h"
#include "cli/command/commands.h"
#include "cli/format.h"
#include "cli/json_output.h"
#include "cli/run_table.h"
#include "cli/run_text.h"
#include "cli/session.h"

namespace entrain::cli::command {
namespace {

std::string SweepText(const v1::Sweep& sweep, Colour colour) {
  const v1::SweepSummary& summary = sweep.summary();
  return StrCat("Sweep ", summary.id(), " \"", Printable(summary.name()), "\" of ", Printable(summary.owner()), ", submitted ",
                FormatUtc(summary.created_wall_ms()), " UTC: ", CountsText(summary), "\n\n", RunTable(sweep, colour));
}

int Describe(Session* session, const std::string& id) {
  const Colour colour = ColourOf(STDOUT_FILENO);
  const auto sweep = session->client().GetSweep(id);
  if (sweep.ok()) {
    session->Print(SweepText(*sweep, colour), ToJson(*sweep));
    return kExitOk;
  }
  if (!absl::IsNotFound(sweep.status())) return session->Fail(sweep.status());
  const auto run = session->client().GetRun(id);
  if (!run.ok() && absl::IsNotFound(run.status())) {
    return session->Fail(absl::NotFoundError(StrCat("no sweep and no run is called ", id, "; `entrain list` shows the sweeps")));
  }
  if (!run.ok()) return session->Fail(run.status());
  session->Print(DescribeRun(*run, colour), ToJson(*run));
  return kExitOk;
}

}  // namespace

void AddDescribe(CLI::App* app, Session* session) {
  const auto id = std::make_shared<std::string>("last");
  CLI::App* command = AddCommand(app, session, "describe",
      {"Shows a sweep with its runs, or all that is known of one run",
       "",
       "  entrain describe last\n  entrain describe r4f2\n  entrain describe \"SM+LN+G seed=1\" -o json"});
  command->add_option("RUN|SWEEP", *id, "An id, the beginning of one, a run's label, or last")->capture_default_str();
  command->callback([=] { session->command = [=] { return Describe(session, *id); }; });
}

}  // namespace entrain::cli::command
