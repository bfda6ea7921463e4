// entrain-trainer: one rank of a gang, or a whole run on its own.
#include <cstdio>
#include <string>

#include "CLI/CLI.hpp"
#include "base/build_id.h"
#include "base/log.h"
#include "worker/trainer/device.h"
#include "worker/trainer/probe.h"
#include "worker/trainer/rank_process.h"
#include "worker/trainer/standalone.h"

namespace {

using namespace entrain;

constexpr char kFooter[] =
    "Examples:\n"
    "  entrain-trainer run.json --dataset data/5f0c... --out runs/a      train alone, one process\n"
    "  mpirun -np 2 entrain-trainer run.json --dataset D --out runs/b    two ranks, gradients over MPI\n"
    "  entrain-trainer run.json --dataset D --out runs/a --resume runs/a/attempt-0001/checkpoints/step-00000100\n"
    "  entrain-trainer probe --config C --weights W --tokens T --out P   evaluate weights on given tokens\n"
    "\n"
    "Ctrl-C or SIGTERM stops after a checkpoint. Exit codes: 0 done or stopped as asked, 64 usage, 70 non-finite loss or\n"
    "gradients, 75 another try may succeed (memory, storage, crash), 78 the configuration or data cannot be used.\n";

struct Arguments {
  trainer::StandaloneOptions standalone;
  std::string attempt_folder;
  trainer::ProbeOptions probe;
};

void DefineStandalone(CLI::App& app, trainer::StandaloneOptions& options) {
  app.add_option("config", options.config_path, "The run configuration, run.json");
  app.add_option("--dataset", options.dataset_dir, "Folder of prepared token shards");
  app.add_option("--out", options.out_dir, "Folder in which the attempt's folder is made");
  app.add_option("--resume", options.resume_dir, "Checkpoint folder to go on from, bit for bit");
  app.add_option("--init", options.init_dir, "Hugging Face GPT-2 folder (model.safetensors) to start from");
  app.add_option("--collective", options.collective, "How ranks add gradients: single, mpi or nccl; default: under a launcher mpi, on GPUs nccl")
      ->check(CLI::IsMember({"single", "mpi", "nccl"}));
  app.add_option("--device", options.device, "Where ranks compute: cpu, or cuda (rank i on GPU i of the machine)")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  app.add_option("--threads", options.threads_per_rank, "Threads of each rank; default: as the configuration says")
      ->check(CLI::PositiveNumber);
  app.add_option("--keep-checkpoints", options.keep_checkpoints, "The newest checkpoints to keep; 0 keeps all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_flag("--allow-inexact-resume", options.allow_inexact_resume,
               "Resume under another world size, thread count, instruction set or configuration");
}

void DefineProbe(CLI::App& probe, trainer::ProbeOptions& options) {
  probe.add_option("--config", options.config, "JSON file with the model section, or a Hugging Face config.json")->required();
  probe.add_option("--weights", options.weights, "A safetensors file, or a folder with model.safetensors")->required();
  probe.add_option("--tokens", options.tokens, "A safetensors file with tokens [B,T] and, optionally, labels");
  probe.add_option("--text", options.text, "Instead of tokens: a text file");
  probe.add_option("--tokenizer", options.tokenizer,
                   "Of the text: bytes, a SentencePiece .model, a tokenizer.json, or a folder with vocab.json and merges.txt; default: what lies "
                   "beside the weights, else bytes");
  probe.add_option("--max-sequences", options.max_sequences, "Of a longer text the first so many sequences are read")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  probe.add_option("--out", options.out, "The safetensors file to write")->required();
  probe.add_flag("--gradients", options.gradients, "Also write the gradients");
  probe.add_option("--steps", options.steps, "Optimiser steps on the same batch")->check(CLI::NonNegativeNumber);
  probe.add_flag("--float64", options.float64, "Compute and write in double precision");
}

int RunProbeCommand(const trainer::ProbeOptions& options) {
  const absl::Status status = trainer::RunProbe(options);
  if (status.ok()) return 0;
  std::fprintf(stderr, "entrain-trainer probe: %s\n", std::string(status.message()).c_str());
  return trainer::kExitConfig;
}

int RunAttemptCommand(const std::string& folder) {
  if (!trainer::BindToParent()) {
    std::fprintf(stderr, "entrain-trainer: the process that started this rank is gone\n");
    return trainer::kExitRetryable;
  }
  return trainer::RunAttempt(folder, {});
}

int RunStandaloneCommand(const trainer::StandaloneOptions& options) {
  const char* missing = nullptr;
  if (options.config_path.empty()) missing = "run.json";
  else if (options.dataset_dir.empty()) missing = "--dataset";
  else if (options.out_dir.empty()) missing = "--out";
  if (missing != nullptr) {
    std::fprintf(stderr, "entrain-trainer: %s is missing; see --help\n", missing);
    return trainer::kExitUsage;
  }
  return trainer::RunStandalone(options);
}

}  // namespace

int main(int argc, char** argv) {
  SetLogComponent("entrain-trainer");
  trainer::AskForHugePages();
  Arguments arguments;
  CLI::App app("Trains one run of entrain: a rank of a gang under its launcher, or the whole run on its own.", "entrain-trainer");
  app.footer(kFooter);
  app.set_version_flag("--version", VersionLine("entrain-trainer"));
  DefineStandalone(app, arguments.standalone);
  app.add_option("--attempt", arguments.attempt_folder, "Run a rank of the attempt in this folder (what a supervisor starts)");
  CLI::App* attempt = app.add_subcommand("attempt", "Run a rank of the attempt in a folder, as --attempt does");
  attempt->add_option("folder", arguments.attempt_folder, "The attempt folder")->required();
  CLI::App* probe = app.add_subcommand("probe", "Evaluate weights on given tokens and write every number");
  DefineProbe(*probe, arguments.probe);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : trainer::kExitUsage;
  }
  trainer::InstallSignalHandlers();
  if (probe->parsed()) return RunProbeCommand(arguments.probe);
  if (!arguments.attempt_folder.empty()) return RunAttemptCommand(arguments.attempt_folder);
  return RunStandaloneCommand(arguments.standalone);
}
