#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "base/strings.h"
#include "cli/command/commands.h"
#include "cli/format.h"
#include "cli/session.h"
#include "cli/sweep_file.h"
#include "cli/table.h"
#include "reports/cost_model.h"
#include "sweep/run_config_json.h"

namespace entrain::cli::command {
namespace {

struct CostOptions {
  std::string file;
  std::string preset;
  std::int64_t layers = 12;
  std::int64_t heads = 12;
  std::int64_t width = 768;
  std::int64_t context = 128;
  std::int64_t vocab = 50257;
  double bandwidth_mbps = reports::Network{}.bandwidth_bits_per_second / 1e6;
  double round_trip_ms = reports::Network{}.round_trip_seconds * 1e3;
  bool residuals = false;
};

// One architecture to price.
struct Priced {
  std::string name;
  reports::InferenceCost cost;
};

// The preset as a sweep of one run, so that it means here what it means in a sweep file.
std::string PresetYaml(const CostOptions& options) {
  return StrCat("name: cost\ndata: {path: none}\nmodel: {n_layer: ", options.layers, ", n_head: ", options.heads, ", n_embd: ", options.width,
                "}\nvariants: [{preset: '", options.preset, "'}]\ntrain: {context: ", options.context, "}\n");
}

// The first run of every variant: seeds and learning rates do not change what an inference costs.
absl::StatusOr<std::vector<Priced>> Price(const sweep::ParsedSweep& sweep, const reports::Network& network) {
  std::vector<Priced> priced;
  for (const domain::RunSpec& run : sweep.spec.runs) {
    const absl::StatusOr<domain::RunConfig> config = sweep::ParseRunConfig(run.config_json);
    if (!config.ok()) return config.status();
    const reports::InferenceCost cost = reports::PrivateInferenceCost(config->model, config->train.context, network);
    const bool seen = !priced.empty() && priced.back().name == run.variant &&
                      priced.back().cost.communication_gb == cost.communication_gb && priced.back().cost.latency_minutes == cost.latency_minutes;
    if (!seen) priced.push_back({run.variant, cost});
  }
  return priced;
}

std::string CostTable(const std::vector<Priced>& priced) {
  if (priced.size() == 1) return StrCat(Printable(priced.front().name), "\n\n", reports::CostText(priced.front().cost));
  Table table({{"VARIANT"}, {"COMMUNICATION", Align::kRight}, {"LATENCY", Align::kRight}});
  for (const Priced& one : priced) {
    table.Add({one.name, FormatFixed(one.cost.communication_gb, 2) + " GB", FormatFixed(one.cost.latency_minutes, 2) + " min"});
  }
  return table.Text(ColourOf(STDOUT_FILENO));
}

nlohmann::json CostTableJson(const std::vector<Priced>& priced) {
  nlohmann::json list = nlohmann::json::array();
  for (const Priced& one : priced) {
    nlohmann::json entry = nlohmann::json::parse(reports::CostJson(one.cost));
    entry["variant"] = one.name;
    list.push_back(std::move(entry));
  }
  return list;
}

// kExitOk with `sweep` filled, or the exit code after the problem was told.
int ReadArchitectures(Session* session, const CostOptions& options, sweep::ParsedSweep* sweep) {
  if (options.file.empty() == options.preset.empty()) {
    return session->Fail(absl::InvalidArgumentError("give either a sweep file or --preset"), kExitUsage);
  }
  if (!options.file.empty()) return CheckSweepFile(*session, options.file, "", sweep);
  const std::vector<sweep::Problem> problems =
      sweep::ParseSweep(PresetYaml(options), {.ref = {}, .vocab_size = options.vocab}, Session::Owner(), sweep);
  return problems.empty() ? kExitOk : session->FailProblems("--preset", problems);
}

int Cost(Session* session, const CostOptions& options) {
  if (options.residuals) {
    session->Print(reports::ResidualsMarkdown(), {{"residuals", reports::ResidualsMarkdown()}});
    return kExitOk;
  }
  sweep::ParsedSweep sweep;
  if (const int code = ReadArchitectures(session, options, &sweep); code != kExitOk) return code;
  const auto priced = Price(sweep, {options.bandwidth_mbps * 1e6, options.round_trip_ms / 1e3});
  if (!priced.ok()) return session->Fail(priced.status());
  session->Print(CostTable(*priced), CostTableJson(*priced));
  return kExitOk;
}

}  // namespace

void AddCost(CLI::App* app, Session* session) {
  const auto options = std::make_shared<CostOptions>();
  CLI::App* command = AddCommand(app, session, "cost",
      {"Prints what one private inference of an architecture costs",
       "Two parties, semi-honest, one token generated from a full context: communication and latency by operation. Of every variant of a\n"
       "sweep file, or of one preset. docs/private-inference-cost.md derives the model; --residuals prints how well it meets the paper.",
       "  entrain cost --preset SM+LN+G\n  entrain cost --preset SM+ScFuFFN --layers 18 --context 256 --bandwidth-mbps 100\n"
       "  entrain cost sweep.yaml\n  entrain cost --residuals"});
  command->add_option("SWEEP.yaml", options->file, "Sweep file (YAML): its variants");
  command->add_option("--preset", options->preset, "A preset's name, as in sweep files");
  const auto size = [&](const char* name, std::int64_t* value, const char* help) {
    command->add_option(name, *value, help)->check(CLI::PositiveNumber)->capture_default_str();
  };
  size("--layers", &options->layers, "Layers of the preset's model");
  size("--heads", &options->heads, "Its heads");
  size("--width", &options->width, "Its width");
  size("--context", &options->context, "Its context, in tokens");
  size("--vocab", &options->vocab, "Its vocabulary");
  command->add_option("--bandwidth-mbps", options->bandwidth_mbps, "The link's bandwidth, Mbit/s")->check(CLI::PositiveNumber)->capture_default_str();
  command->add_option("--round-trip-ms", options->round_trip_ms, "The link's round trip")->check(CLI::NonNegativeNumber)->capture_default_str();
  command->add_flag("--residuals", options->residuals, "The model against every published row");
  command->callback([=] { session->command = [=] { return Cost(session, *options); }; });
}

}  // namespace entrain::cli::command
