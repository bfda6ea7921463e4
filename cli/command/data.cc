#include <unistd.h>

#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "base/strings.h"
#include "cli/command/commands.h"
#include "cli/format.h"
#include "cli/session.h"
#include "cli/sweep_file.h"
#include "data/prepare.h"

namespace entrain::cli::command {
namespace {

struct DataOptions {
  std::string path;
  std::string artifacts = "entrain-data/artifacts";
  data::PrepareOptions prepare;
};

std::string DatasetText(const data::PreparedDataset& dataset) {
  return StrCat(dataset.ref.ToString(), dataset.reused ? " (it was there already)" : "", "\n", "  ",
                FormatCount(static_cast<double>(dataset.train_tokens)), " training and ",
                FormatCount(static_cast<double>(dataset.validation_tokens)), " held-out tokens, vocabulary ", dataset.vocab_size,
                "\n  ", dataset.documents, " documents, ", dataset.skipped_binary_files, " binary files skipped\n  ",
                Printable(dataset.dir), "\n");
}

int Prepare(Session* session, const DataOptions& options) {
  SweepFile none;
  none.source.tokenizer = options.prepare.tokenizer;
  none.source.include = options.prepare.include;
  none.source.max_bytes = options.prepare.max_bytes;
  none.source.validation_fraction = options.prepare.validation_fraction;
  absl::StatusOr<data::PrepareOptions> prepare = PrepareOptionsOf(none, options.path);
  if (!prepare.ok()) return session->Fail(prepare.status(), kExitBadSweep);
  prepare->include = options.prepare.include;
  if (!options.prepare.name.empty()) prepare->name = options.prepare.name;
  const auto dataset = PrepareWithProgress(*session, *prepare, options.artifacts);
  if (!dataset.ok()) return session->Fail(dataset.status(), kExitBadSweep);
  session->Print(DatasetText(*dataset), {{"reference", dataset->ref.ToString()},
                                         {"folder", dataset->dir},
                                         {"vocabulary", dataset->vocab_size},
                                         {"train_tokens", dataset->train_tokens},
                                         {"validation_tokens", dataset->validation_tokens},
                                         {"documents", dataset->documents},
                                         {"skipped_binary_files", dataset->skipped_binary_files},
                                         {"reused", dataset->reused}});
  return kExitOk;
}

}  // namespace

void AddData(CLI::App* app, Session* session) {
  CLI::App* group = app->add_subcommand("data", "Prepares text for training");
  group->require_subcommand(1);
  const auto options = std::make_shared<DataOptions>();
  CLI::App* command = AddCommand(group, session, "prepare",
      {"Turns a folder of text (or one file) into token shards",
       "Prints their reference, name@hash, for a sweep's data.reference.",
       "  entrain data prepare ~/texts\n  entrain data prepare ~/src --include '*.py' --include '*.md'\n"
       "  entrain data prepare python-stdlib --max-bytes 20000000"});
  command->add_option("PATH", options->path, "Folder, file, or python-stdlib")->required();
  command->add_option("--artifacts", options->artifacts, "Artifact root that coordinator and workers use")->capture_default_str();
  command->add_option("--include", options->prepare.include, "File name pattern, may be repeated; default: every file that is text")
      ->allow_extra_args(false);
  command->add_option("--tokenizer", options->prepare.tokenizer, "bytes, or another tokeniser")->capture_default_str();
  command->add_option("--name", options->prepare.name, "Name of the dataset; default: the last part of the path");
  command->add_option("--max-bytes", options->prepare.max_bytes, "Of input text; 0: everything")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--validation", options->prepare.validation_fraction, "Fraction of documents that is held out")
      ->check(CLI::Range(0.0, 0.9))
      ->capture_default_str();
  command->callback([=] { session->command = [=] { return Prepare(session, *options); }; });
}

}  // namespace entrain::cli::command
