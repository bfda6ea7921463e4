#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "base/clock.h"
#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "cli/collect.h"
#include "cli/command/commands.h"
#include "cli/format.h"
#include "cli/interrupts.h"
#include "cli/local/visit.h"
#include "cli/session.h"
#include "cli/trace_files.h"
#include "data/safetensors.h"
#include "reports/exports.h"

namespace entrain::cli::command {
namespace {

struct ExportOptions {
  std::string sweep = "last";
  std::string run;  // only this one; empty: all
  std::string format;
  std::string dir = "entrain-data";
  // "table", "json" or the folder to write; the last of each kind counts.
  std::vector<std::string> outputs;
};

const std::vector<std::string> kExportFormats = {"tensorboard", "csv", "npz", "safetensors", "svg", "traces"};

// Labels are unique in a sweep, but not always file names.
std::string FolderOf(const reports::RunData& run) {
  std::string name = run.label;
  for (char& c : name) {
    const bool kept = std::isalnum(static_cast<unsigned char>(c)) != 0 || std::string_view("-_.=+").find(c) != std::string_view::npos;
    if (!kept) c = '_';
  }
  return StrCat(name, "-", run.id);
}

absl::Status WriteCounted(const std::string& path, const std::string& bytes, std::int64_t* written) {
  *written += static_cast<std::int64_t>(bytes.size());
  return WriteFileAtomically(path, bytes);
}

absl::Status WriteRunSafetensors(const reports::RunData& run, const std::string& path, std::int64_t* written) {
  const std::map<std::string, reports::Array> arrays = reports::RunArrays(run);
  std::map<std::string, data::TensorView> tensors;
  for (const auto& [name, array] : arrays) {
    const data::DType type = array.type == reports::Array::Type::kInt64     ? data::DType::kI64
                             : array.type == reports::Array::Type::kFloat64 ? data::DType::kF64
                                                                            : data::DType::kF32;
    tensors[name] = {type, array.shape, array.bytes.data(), static_cast<std::int64_t>(array.bytes.size())};
    *written += static_cast<std::int64_t>(array.bytes.size());
  }
  return data::WriteSafetensors(path, tensors,
                                {{"label", run.label}, {"run", run.id}, {"context", StrCat(run.context)}, {"config", run.config_json}});
}

absl::Status ExportRun(const reports::RunData& run, const std::string& format, const std::string& folder, std::int64_t* written) {
  const std::string stem = StrCat(folder, "/", FolderOf(run));
  if (format == "npz") return WriteCounted(stem + ".npz", reports::Npz(reports::RunArrays(run)), written);
  if (format == "safetensors") return WriteRunSafetensors(run, stem + ".safetensors", written);
  if (format == "csv") {
    ENTRAIN_RETURN_IF_ERROR(WriteCounted(stem + ".csv", reports::SamplesCsv(run), written));
    return WriteCounted(stem + ".evaluations.csv", reports::EvaluationsCsv(run), written);
  }
  // TensorBoard takes each folder for a run, and looks for this name.
  ENTRAIN_RETURN_IF_ERROR(MakeFolders(stem));
  return WriteCounted(StrCat(stem, "/events.out.tfevents.0000000000.entrain"), reports::TensorBoardEvents(run), written);
}

absl::StatusOr<std::int64_t> ExportRuns(const reports::SweepData& sweep, const std::string& format, const std::string& folder) {
  ENTRAIN_RETURN_IF_ERROR(MakeFolders(folder));
  std::int64_t written = 0;
  if (format == "svg") {
    ENTRAIN_RETURN_IF_ERROR(WriteCounted(folder + "/curves.svg", reports::CurvesSvg(sweep), &written));
    return written;
  }
  if (format == "csv") ENTRAIN_RETURN_IF_ERROR(WriteCounted(folder + "/runs.csv", reports::RunsCsv(sweep), &written));
  for (const reports::RunData& run : sweep.runs) ENTRAIN_RETURN_IF_ERROR(ExportRun(run, format, folder, &written));
  return written;
}

absl::StatusOr<std::int64_t> ExportTraces(const reports::SweepData& sweep, const std::string& folder) {
  std::vector<policy::backtest::Trace> traces;
  for (const reports::RunData& run : sweep.runs) {
    if (run.samples.empty()) continue;
    auto trace = TraceOf(run, sweep.name);
    if (!trace.ok()) return trace.status();
    traces.push_back(*std::move(trace));
  }
  return WriteTraces(folder, traces);
}

int ExportSweep(Session* session, const ExportOptions& options, const std::string& target) {
  const bool progress = !session->json() && ::isatty(STDERR_FILENO) != 0;
  auto sweep = CollectSweep(
      &session->client(), options.sweep,
      [&](int done, int all) {
        if (progress) std::fprintf(stderr, "\r\x1b[Kfetching runs: %d of %d%s", done, all, done == all ? "\r\x1b[K" : "");
      },
      0);
  if (!sweep.ok()) return session->Fail(sweep.status());
  if (!options.run.empty()) {
    std::erase_if(sweep->runs, [&](const reports::RunData& run) { return run.label != options.run && !run.id.starts_with(options.run); });
    if (sweep->runs.empty()) return session->Fail(absl::NotFoundError(StrCat("the sweep has no run ", options.run)));
  }
  const auto bytes = options.format == "traces" ? ExportTraces(*sweep, target) : ExportRuns(*sweep, options.format, target);
  if (!bytes.ok()) return session->Fail(bytes.status());
  session->Print(StrCat(sweep->runs.size(), " runs, ", FormatBytes(*bytes), ": ", Printable(target), "\n"),
                 {{"sweep_id", sweep->id}, {"runs", sweep->runs.size()}, {"format", options.format}, {"bytes", *bytes}, {"folder", target}});
  return kExitOk;
}

int Export(Session* session, const ExportOptions& options) {
  std::string target;
  for (const std::string& output : options.outputs) {
    if (output == "table" || output == "json") session->output = output;
    else target = output;
  }
  if (target.empty()) return session->Fail(absl::InvalidArgumentError("-o DIR is missing: the folder to write; see entrain export --help"), kExitUsage);
  const SystemClock clock;
  const Interrupts interrupts;
  const auto visit = local::VisitIfNeeded(session, options.dir, &clock, &interrupts);
  if (!visit.ok()) return session->Fail(visit.status());
  return ExportSweep(session, options, target);
}

}  // namespace

void AddExport(CLI::App* app, Session* session) {
  const auto options = std::make_shared<ExportOptions>();
  CLI::App* command = AddCommand(app, session, "export",
      {"Writes a sweep's samples for other programs",
       "tensorboard: a folder of event files, one folder a run, for `tensorboard --logdir`. csv: runs.csv, and a table of samples and one of\n"
       "evaluations a run. npz, safetensors: arrays a run (step, loss, entropy_nats [n, layer, head], ...). svg: curves.svg, loss and\n"
       "entropy of all runs over steps. traces: recorded runs for\n`entrain policy test --traces` (docs/policy.md). All samples are written, whatever their number.",
       "  entrain export last --format tensorboard -o logs\n  entrain export s7k2 --run \"SM seed=1\" --format npz -o arrays"});
  command->add_option("--run", options->run, "Only this run: its label, an id, or the beginning of one");
  command->add_option("SWEEP", options->sweep, "An id, the beginning of one, or last")->capture_default_str();
  command->add_option("--format", options->format, "What to write")->required()->check(CLI::IsMember(kExportFormats));
  command->add_option("--dir", options->dir, "Folder of an `entrain local`, whose coordinator is started when none runs")->capture_default_str();
  command->add_option("-o,--output", options->outputs, "The folder to write; also table or json: how the result is printed")
      ->allow_extra_args(false)
      ->group("Common options");
  command->callback([=] { session->command = [=] { return Export(session, *options); }; });
}

}  // namespace entrain::cli::command
