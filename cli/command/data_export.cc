#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "base/strings.h"
#include "cli/command/data.h"
#include "cli/format.h"
#include "cli/session.h"
#include "data/export.h"

namespace entrain::cli::command {
namespace {

struct ExportFlags {
  std::string dataset;
  std::string artifacts = kDefaultArtifacts;
  std::string format = "nanogpt";
  data::ExportOptions to;
};

int RunExport(Session* session, const ExportFlags& flags) {
  const absl::StatusOr<std::string> dir = FindDataset(flags.dataset, flags.artifacts);
  if (!dir.ok()) return session->Fail(dir.status(), kExitBadSweep);
  const absl::StatusOr<data::TokenDataset> dataset = data::TokenDataset::Open(*dir);
  if (!dataset.ok()) return session->Fail(dataset.status(), kExitBadSweep);
  data::ExportOptions options = flags.to;
  options.format = flags.format == "llmc" ? data::TokenFileFormat::kLlmC : data::TokenFileFormat::kNanoGpt;
  const auto files = data::Export(*dataset, options);
  if (!files.ok()) return session->Fail(files.status());
  std::string text;
  nlohmann::json json = nlohmann::json::array();
  for (const data::ExportedFile& file : *files) {
    StrAppend(&text, Printable(file.path), "  ", file.tokens, " tokens\n");
    json.push_back({{"file", file.path}, {"tokens", file.tokens}});
  }
  session->Print(text, {{"files", std::move(json)}});
  return kExitOk;
}

}  // namespace

void AddDataExport(CLI::App* group, Session* session) {
  const auto flags = std::make_shared<ExportFlags>();
  CLI::App* command = AddCommand(group, session, "export",
      {"Writes a prepared dataset as token shards of nanoGPT or llm.c",
       "nanogpt: train.bin and val.bin of uint16. llmc: NAME_train_000000.bin, ... with llm.c's header; uint32 where the vocabulary has more\n"
       "than 65,536 tokens. The streams are written as they are: every document followed by its end token.",
       "  entrain data export texts@0123456789abcdef0123456789abcdef --out ~/nanoGPT/data/texts\n"
       "  entrain data export texts@0123456789abcdef0123456789abcdef --format llmc --out shards"});
  command->add_option("DATASET", flags->dataset, "name@hash, hash, or the dataset's folder")->required();
  command->add_option("--out", flags->to.dir, "Folder to write into; its files are never overwritten")->required();
  command->add_option("--format", flags->format, "Whose files")->check(CLI::IsMember({"nanogpt", "llmc"}))->capture_default_str();
  command->add_option("--shard-tokens", flags->to.shard_tokens, "Tokens of each of llm.c's files")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{2147483647}))
      ->capture_default_str();
  command->add_option("--artifacts", flags->artifacts, "Artifact root where name@hash is looked for")->capture_default_str();
  command->callback([=] { session->command = [=] { return RunExport(session, *flags); }; });
}

}  // namespace entrain::cli::command
