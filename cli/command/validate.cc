#include <unistd.h>

#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "base/strings.h"
#include "cli/command/commands.h"
#include "cli/format.h"
#include "cli/session.h"
#include "cli/sweep_file.h"
#include "cli/table.h"

namespace entrain::cli::command {
namespace {

struct ValidateOptions {
  std::string file;
  std::string data;
  // What one slot computes. As measured with the quickstart's small models on a busy two-core server; large models reach several times
  // that, a GPU slot thousands of times.
  double slot_gflops = 6.0;
  std::int64_t slots = 2;
};

std::int64_t TimeMs(const sweep::Estimate& estimate, const domain::RunSpec& run, const ValidateOptions& options) {
  const double flops_per_second = options.slot_gflops * 1e9 * static_cast<double>(run.resources.WorldSize());
  return static_cast<std::int64_t>(1000.0 * estimate.flops / flops_per_second);
}

struct Totals {
  std::int64_t tokens = 0;
  std::int64_t disk_bytes = 0;
  // All runs on `slots`, as if they packed without gaps.
  std::int64_t time_ms = 0;
};

Totals Sum(const sweep::ParsedSweep& sweep, const ValidateOptions& options) {
  Totals totals;
  double slot_ms = 0.0;
  for (std::size_t i = 0; i < sweep.spec.runs.size(); ++i) {
    const domain::RunSpec& run = sweep.spec.runs[i];
    const sweep::Estimate& estimate = sweep.estimates[i];
    totals.tokens += estimate.tokens;
    totals.disk_bytes += estimate.disk_bytes;
    slot_ms += static_cast<double>(TimeMs(estimate, run, options) * run.resources.WorldSize());
  }
  totals.time_ms = static_cast<std::int64_t>(slot_ms / static_cast<double>(options.slots));
  return totals;
}

std::string TableText(const sweep::ParsedSweep& sweep, const ValidateOptions& options) {
  Table table({{"RUN"}, {"RANKS", Align::kRight}, {"PARAMETERS", Align::kRight}, {"STEPS", Align::kRight}, {"TOKENS", Align::kRight},
               {"MEMORY/RANK", Align::kRight}, {"DISK", Align::kRight}, {"TIME", Align::kRight}});
  for (std::size_t i = 0; i < sweep.spec.runs.size(); ++i) {
    const domain::RunSpec& run = sweep.spec.runs[i];
    const sweep::Estimate& estimate = sweep.estimates[i];
    table.Add({run.label, StrCat(run.resources.WorldSize()), FormatCount(static_cast<double>(estimate.parameters)), StrCat(run.steps),
               FormatCount(static_cast<double>(estimate.tokens)), FormatBytes(estimate.memory_bytes_per_rank),
               FormatBytes(estimate.disk_bytes), FormatDuration(TimeMs(estimate, run, options))});
  }
  const Totals totals = Sum(sweep, options);
  return StrCat("sweep \"", Printable(sweep.spec.name), "\": ", sweep.spec.runs.size(), " runs\n\n", table.Text(ColourOf(STDOUT_FILENO)),
                "\nin all ", FormatCount(static_cast<double>(totals.tokens)), " tokens, ", FormatBytes(totals.disk_bytes),
                " of disk, about ", FormatDuration(totals.time_ms), " on ", options.slots, " slots of ",
                FormatFixed(options.slot_gflops, 0), " GFLOP/s\n");
}

nlohmann::json Json(const sweep::ParsedSweep& sweep, const ValidateOptions& options) {
  nlohmann::json runs = nlohmann::json::array();
  for (std::size_t i = 0; i < sweep.spec.runs.size(); ++i) {
    const domain::RunSpec& run = sweep.spec.runs[i];
    const sweep::Estimate& estimate = sweep.estimates[i];
    runs.push_back({{"label", run.label},
                    {"variant", run.variant},
                    {"axes", run.axes},
                    {"cell_id", run.cell.value()},
                    {"world_size", run.resources.WorldSize()},
                    {"steps", run.steps},
                    {"parameters", estimate.parameters},
                    {"tokens", estimate.tokens},
                    {"memory_bytes_per_rank", estimate.memory_bytes_per_rank},
                    {"disk_bytes", estimate.disk_bytes},
                    {"flops", estimate.flops},
                    {"seconds", static_cast<double>(TimeMs(estimate, run, options)) / 1000.0}});
  }
  const Totals totals = Sum(sweep, options);
  return {{"name", sweep.spec.name},
          {"runs", std::move(runs)},
          {"tokens", totals.tokens},
          {"disk_bytes", totals.disk_bytes},
          {"seconds", static_cast<double>(totals.time_ms) / 1000.0}};
}

int Validate(Session* session, const ValidateOptions& options) {
  sweep::ParsedSweep sweep;
  if (const int code = CheckSweepFile(*session, options.file, options.data, &sweep); code != kExitOk) return code;
  session->Print(TableText(sweep, options), session->json() ? Json(sweep, options) : nlohmann::json());
  return kExitOk;
}

}  // namespace

void AddValidate(CLI::App* app, Session* session) {
  const auto options = std::make_shared<ValidateOptions>();
  CLI::App* command = AddCommand(app, session, "validate",
      {"Checks a sweep file and shows its runs and what they will need",
       "Parameters, tokens, and estimated memory, disk and time of every run; nothing is submitted and no coordinator is needed. Every\n"
       "problem is file:line:column: field: message, with exit code 65.",
       "  entrain validate sweep.yaml\n  entrain validate sweep.yaml --slots 8 --slot-gflops 40000\n  entrain validate sweep.yaml -o json"});
  command->add_option("SWEEP.yaml", options->file, "Sweep file (YAML)")->required();
  command->add_option("--data", options->data, "Text to train on instead of the file's data path");
  command->add_option("--slots", options->slots, "Slots for the estimate of the time in all")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--slot-gflops", options->slot_gflops, "What one slot computes, for the estimate")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->callback([=] { session->command = [=] { return Validate(session, *options); }; });
}

}  // namespace entrain::cli::command
