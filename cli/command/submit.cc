#include <unistd.h>

#include <memory>
#include <optional>
#include <string>

#include "CLI/CLI.hpp"
#include "base/random.h"
#include "base/strings.h"
#include "cli/command/commands.h"
#include "cli/dataset_push.h"
#include "cli/json_output.h"
#include "cli/session.h"
#include "cli/sweep_file.h"
#include "cli/watching.h"

namespace entrain::cli::command {
namespace {

struct SubmitOptions {
  std::string file;
  std::string key;
  std::string data;
  std::string artifacts = "entrain-data/artifacts";
  bool strict = false;
  std::optional<std::int64_t> priority;
  bool wait = false;
};

int FollowToEnd(Session* session, const std::string& id) {
  const Interrupts interrupts;
  WatchEnd end;
  {
    Display display(session->json(), session->Asker());
    end = WatchToEnd(&session->client(), id, &display, interrupts);
  }
  if (!end.status.ok()) return session->Fail(end.status);
  if (end.signal != 0) return end.signal == SIGINT ? kExitInterrupted : kExitTerminated;
  if (session->json()) session->Print("", ToJson(end.sweep));
  return ExitCodeOfSweep(end.sweep);
}

int Submit(Session* session, const SubmitOptions& options) {
  Preparation preparation = PrepareSubmission(*session, options.file, options.data, options.artifacts);
  if (!preparation.request.has_value()) return preparation.exit_code;
  const absl::Status pushed = PushIfMissing(session, preparation.binding.dataset.ref, options.artifacts);
  if (!pushed.ok()) return session->Fail(pushed);
  v1::SubmitRequest& request = *preparation.request;
  request.set_idempotency_key(options.key.empty() ? SystemIdSource().Next(20) : options.key);
  request.set_strict(options.strict);
  if (options.priority.has_value()) request.set_priority(*options.priority);
  const auto response = session->client().Submit(request);
  if (absl::IsInvalidArgument(response.status())) return session->Fail(response.status(), kExitBadSweep);
  if (!response.ok()) return session->Fail(response.status());
  for (const std::string& warning : response->warnings()) session->Remark(StrCat("warning: ", warning));
  if (options.wait && session->json()) return FollowToEnd(session, response->sweep_id());
  nlohmann::json warnings(std::vector<std::string>(response->warnings().begin(), response->warnings().end()));
  session->Print(StrCat("sweep ", response->sweep_id(), " of ", response->run_count(), " runs submitted; follow it with `entrain watch ",
                        response->sweep_id(), "`\n"),
                 {{"sweep_id", response->sweep_id()}, {"runs", response->run_count()}, {"warnings", std::move(warnings)}});
  return options.wait ? FollowToEnd(session, response->sweep_id()) : static_cast<int>(kExitOk);
}

}  // namespace

void AddSubmit(CLI::App* app, Session* session) {
  const auto options = std::make_shared<SubmitOptions>();
  CLI::App* command = AddCommand(app, session, "submit",
      {"Hands a sweep to the coordinator",
       "Prepares the sweep's data first, and pushes it where the coordinator lacks it. Once this returns, the sweep survives kill -9 and the\n"
       "loss of power. Exit code 65: the file or its data cannot be used.",
       "  entrain submit sweep.yaml\n  entrain submit sweep.yaml --wait\n  entrain submit sweep.yaml --key nightly-42 --strict\n"
       "  entrain submit sweep.yaml --data ~/texts"});
  command->add_option("SWEEP.yaml", options->file, "Sweep file (YAML)")->required();
  command->add_option("--key", options->key, "Submitting again with the same key and content gives the same sweep");
  command->add_option("--data", options->data, "Text to train on instead of the file's data path");
  command->add_option("--artifacts", options->artifacts, "Artifact root that coordinator and workers use")->capture_default_str();
  command->add_option("--priority", options->priority, "Instead of the file's: higher goes first, and stops what is lower at a checkpoint");
  command->add_flag("--strict", options->strict, "Refuse a sweep with a run that no worker known now could ever hold");
  command->add_flag("--wait", options->wait, "Watch the sweep; exit as `entrain wait` does");
  command->callback([=] { session->command = [=] { return Submit(session, *options); }; });
}

}  // namespace entrain::cli::command
