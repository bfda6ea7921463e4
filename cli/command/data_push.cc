#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "artifacts/transfer.h"
#include "base/strings.h"
#include "cli/command/data.h"
#include "cli/dataset_push.h"
#include "cli/format.h"
#include "cli/session.h"
#include "data/token_dataset.h"

namespace entrain::cli::command {
namespace {

struct PushFlags {
  std::string dataset;
  std::string artifacts = kDefaultArtifacts;
};

int RunPush(Session* session, const PushFlags& flags) {
  const absl::StatusOr<std::string> dir = FindDataset(flags.dataset, flags.artifacts);
  if (!dir.ok()) return session->Fail(dir.status(), kExitBadSweep);
  const absl::StatusOr<data::TokenDataset> dataset = data::TokenDataset::Open(*dir);
  if (!dataset.ok()) return session->Fail(dataset.status(), kExitBadSweep);
  const absl::StatusOr<bool> was_there = PushWithProgress(session, dataset->ref(), *dir);
  if (!was_there.ok()) return session->Fail(was_there.status());
  const std::string reference = dataset->ref().ToString();
  session->Print(StrCat(reference, *was_there ? " was there already\n" : " pushed\n"), {{"reference", reference}, {"was_there", *was_there}});
  return kExitOk;
}

}  // namespace

void AddDataPush(CLI::App* group, Session* session) {
  const auto flags = std::make_shared<PushFlags>();
  CLI::App* command = AddCommand(group, session, "push",
      {"Uploads a prepared dataset to the coordinator's artifact root",
       "By content hash, checked on arrival; an upload that broke goes on where it ended. Sweeps then name it: data: {dataset: name@hash}.\n"
       "Not needed where this machine shares the artifact root. `entrain submit` pushes what it prepared by itself.",
       "  entrain data push texts@0123456789abcdef0123456789abcdef --coordinator lab:7070"});
  command->add_option("DATASET", flags->dataset, "name@hash, hash, or the dataset's folder")->required();
  command->add_option("--artifacts", flags->artifacts, "Artifact root where name@hash is looked for")->capture_default_str();
  command->callback([=] { session->command = [=] { return RunPush(session, *flags); }; });
}

}  // namespace entrain::cli::command
