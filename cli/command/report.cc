#include <unistd.h>

#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "base/files.h"
#include "base/strings.h"
#include "cli/collect.h"
#include "cli/command/commands.h"
#include "cli/format.h"
#include "cli/session.h"
#include "reports/paper.h"
#include "reports/report.h"

namespace entrain::cli::command {
namespace {

struct ReportOptions {
  std::string sweep = "last";
  // "table", "json" or a file; the last of each kind counts.
  std::vector<std::string> outputs;
  // A table of the paper to compare with; empty: none.
  std::string paper;
};

std::vector<std::string> PaperTableNames() {
  std::vector<std::string> names;
  for (const reports::PaperTable& table : reports::PaperTables()) names.push_back(table.name);
  return names;
}

std::string LeaderboardScreen(const reports::SweepData& sweep, const std::vector<reports::LeaderboardRow>& rows) {
  std::string text = reports::LeaderboardText(rows);
  for (const std::string& line : reports::SummaryLines(sweep)) StrAppend(&text, Printable(line), "\n");
  return text;
}

int Report(Session* session, const ReportOptions& options) {
  std::string file;
  for (const std::string& output : options.outputs) {
    if (output == "table" || output == "json") session->output = output;
    else file = output;
  }
  const bool progress = !session->json() && ::isatty(STDERR_FILENO) != 0;
  const auto sweep = CollectSweep(&session->client(), options.sweep, [&](int done, int all) {
    if (progress) std::fprintf(stderr, "\r\x1b[Kfetching runs: %d of %d%s", done, all, done == all ? "\r\x1b[K" : "");
  });
  if (!sweep.ok()) return session->Fail(sweep.status());
  const std::vector<reports::LeaderboardRow> rows = reports::MakeLeaderboard(*sweep);
  nlohmann::json result = {{"sweep_id", sweep->id}, {"leaderboard", nlohmann::json::parse(reports::LeaderboardJson(rows))}};
  std::string text = LeaderboardScreen(*sweep, rows);
  std::optional<reports::PaperComparison> paper;
  if (const reports::PaperTable* table = reports::FindPaperTable(options.paper)) {
    paper = reports::CompareWithPaper(*table, *sweep);
    text = reports::PaperText(*paper);
    result["paper"] = nlohmann::json::parse(reports::PaperJson(*paper));
  }
  if (!file.empty()) {
    const absl::Status written = WriteFileAtomically(file, reports::ReportHtml(*sweep, paper ? &*paper : nullptr));
    if (!written.ok()) return session->Fail(written);
    StrAppend(&text, "report: ", Printable(file), "\n");
    result["report"] = file;
  }
  session->Print(text, result);
  return kExitOk;
}

}  // namespace

void AddReport(CLI::App* app, Session* session) {
  const auto options = std::make_shared<ReportOptions>();
  CLI::App* command = AddCommand(app, session, "report",
      {"Prints a sweep's leaderboard and writes its HTML report",
       "-o FILE.html writes the report, one file that opens without a network; -o table|json says how the leaderboard is printed. "
       "--paper TABLE prints the results beside the figures of arXiv 2501.03489 instead (the sweeps are in examples/paper).",
       "  entrain report\n  entrain report s7k2 -o sweep.html\n  entrain report last -o sweep.html -o json\n"
       "  entrain report last --paper architectures"});
  command->add_option("SWEEP", options->sweep, "An id, the beginning of one, or last")->capture_default_str();
  command->add_option("-o,--output", options->outputs, "table or json: how the leaderboard is printed; otherwise the report's file")
      ->allow_extra_args(false)
      ->group("Common options");
  command->add_option("--paper", options->paper, "A table or figure of the paper")->check(CLI::IsMember(PaperTableNames()));
  command->callback([=] { session->command = [=] { return Report(session, *options); }; });
}

}  // namespace entrain::cli::command
