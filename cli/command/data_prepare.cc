#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "base/strings.h"
#include "cli/command/data.h"
#include "cli/format.h"
#include "cli/session.h"
#include "cli/sweep_file.h"
#include "data/prepare.h"

namespace entrain::cli::command {
namespace {

struct PrepareFlags {
  std::string path;
  std::string artifacts = kDefaultArtifacts;
  data::PrepareOptions prepare;
};

std::string DatasetText(const data::PreparedDataset& dataset) {
  return StrCat(dataset.ref.ToString(), dataset.reused ? " (it was there already)" : "", "\n", "  ",
                FormatCount(static_cast<double>(dataset.train_tokens)), " training and ",
                FormatCount(static_cast<double>(dataset.validation_tokens)), " held-out tokens, vocabulary ", dataset.vocab_size,
                "\n  ", dataset.documents, " documents, ", dataset.skipped_binary_files, " binary files skipped\n  ",
                Printable(dataset.dir), "\n");
}

int RunPrepare(Session* session, const PrepareFlags& flags) {
  // As a sweep file that says the same.
  SweepFile file;
  file.source.tokenizer = flags.prepare.tokenizer;
  file.source.vocab_size = flags.prepare.vocab_size;
  file.source.format = flags.prepare.format;
  file.source.field = flags.prepare.field;
  file.source.max_bytes = flags.prepare.max_bytes;
  file.source.validation_fraction = flags.prepare.validation_fraction;
  absl::StatusOr<data::PrepareOptions> prepare = PrepareOptionsOf(file, flags.path);
  if (!prepare.ok()) return session->Fail(prepare.status(), kExitBadSweep);
  prepare->include = flags.prepare.include;
  prepare->end_of_document = flags.prepare.end_of_document;
  prepare->threads = flags.prepare.threads;
  if (!flags.prepare.name.empty()) prepare->name = flags.prepare.name;
  const auto dataset = PrepareWithProgress(*session, *prepare, flags.artifacts);
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

void AddTokenizerFlags(CLI::App* command, data::PrepareOptions* prepare) {
  command->add_option("--tokenizer", prepare->tokenizer,
                      "bytes; sentencepiece:bpe:SIZE or sentencepiece:unigram:SIZE, trained on the text; or a path: a SentencePiece .model,\n"
                      "a tokenizer.json, a folder with vocab.json and merges.txt")
      ->capture_default_str();
  command->add_option("--vocab-size", prepare->vocab_size, "Of a tokeniser that is trained, or of token shards (0: GPT-2's 50257)")
      ->check(CLI::Range(0, 1 << 24))
      ->capture_default_str();
  command->add_option("--end-token", prepare->end_of_document,
                      "Token that ends a document in token shards; -1: none; default: the tokeniser's, GPT-2's 50256 without one");
}

}  // namespace

void AddDataPrepare(CLI::App* group, Session* session) {
  const auto flags = std::make_shared<PrepareFlags>();
  CLI::App* command = AddCommand(group, session, "prepare",
      {"Turns text, JSON lines or other programs' token shards into token shards",
       "PATH is a folder or one file; .gz and .zst are unpacked. Prints the reference, name@hash, for a sweep's data.dataset. Killed, the\n"
       "same command goes on where it was. Formats: docs/data.md.",
       "  entrain data prepare ~/texts\n  entrain data prepare ~/src --include '*.py' --include '*.md'\n"
       "  entrain data prepare c4.jsonl.zst --tokenizer ./gpt2 --field text\n"
       "  entrain data prepare ~/texts --tokenizer sentencepiece:bpe --vocab-size 8192\n"
       "  entrain data prepare ~/nanoGPT/data/openwebtext --include '*.bin'"});
  data::PrepareOptions* prepare = &flags->prepare;
  command->add_option("PATH", flags->path, "Folder, file, or python-stdlib")->required();
  command->add_option("--artifacts", flags->artifacts, "Artifact root that coordinator and workers use")->capture_default_str();
  command->add_option("--include", prepare->include, "File name pattern, may be repeated; default: every file that is text")
      ->allow_extra_args(false);
  command->add_option("--format", prepare->format, "What the files hold; auto goes by their names")
      ->check(CLI::IsMember({"auto", "text", "jsonl", "tokens"}))
      ->capture_default_str();
  command->add_option("--field", prepare->field, "Which field of JSON lines is the text; a dot leads into an object")->capture_default_str();
  AddTokenizerFlags(command, prepare);
  command->add_option("--name", prepare->name, "Name of the dataset; default: the last part of the path");
  command->add_option("--max-bytes", prepare->max_bytes, "Of input text; 0: everything")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--validation", prepare->validation_fraction, "Fraction of documents that is held out")
      ->check(CLI::Range(0.0, 0.9))
      ->capture_default_str();
  command->add_option("--threads", prepare->threads, "0: every core; the result does not depend on it")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
  command->callback([=] { session->command = [=] { return RunPrepare(session, *flags); }; });
}

}  // namespace entrain::cli::command
