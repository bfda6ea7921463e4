#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "base/clock.h"
#include "base/strings.h"
#include "cli/command/commands.h"
#include "cli/format.h"
#include "cli/interrupts.h"
#include "cli/local/visit.h"
#include "cli/model_folder.h"
#include "cli/session.h"

namespace entrain::cli::command {
namespace {

struct FetchArguments {
  std::string run;
  std::int64_t step = -1;
  bool best = false;
  bool last = false;
  bool training_state = false;
  std::string dir = "entrain-data";
  // "table", "json" or the folder to make; the last of each kind counts.
  std::vector<std::string> outputs;
};

CheckpointWish WishOf(const FetchArguments& arguments) {
  if (arguments.step >= 0) return CheckpointWish::kStep;
  if (arguments.best) return CheckpointWish::kBest;
  return arguments.last ? CheckpointWish::kLast : CheckpointWish::kBestOrLast;
}

nlohmann::json FetchedJson(const v1::RunDetail& run, const ChosenCheckpoint& chosen, const FetchedModel& model, const std::string& target) {
  nlohmann::json loss = nullptr;
  if (chosen.eval_loss) loss = *chosen.eval_loss;
  return {{"run_id", run.summary().id()}, {"attempt", chosen.checkpoint.attempt()}, {"step", chosen.checkpoint.step()},
          {"eval_loss", loss},            {"folder", target},                      {"bytes", model.bytes},
          {"tokenizer", model.tokenizer}};
}

int FetchFrom(Session* session, const FetchArguments& arguments, const std::string& target, const Interrupts& interrupts) {
  const auto run = session->client().GetRun(arguments.run);
  if (!run.ok()) return session->Fail(run.status());
  const auto chosen = ChooseCheckpoint(*run, WishOf(arguments), arguments.step);
  if (!chosen.ok()) return session->Fail(chosen.status());
  if (!chosen->remark.empty()) session->Remark(StrCat("note: ", chosen->remark));
  const bool progress = !session->json() && ::isatty(STDERR_FILENO) != 0;
  FetchOptions options{target, arguments.training_state, {}};
  options.on_progress = [&](std::int64_t bytes) -> absl::Status {
    const int signal = interrupts.Wait(0);
    if (signal == SIGINT || signal == SIGTERM || signal == SIGHUP) return absl::CancelledError("interrupted; nothing was written");
    if (progress) std::fprintf(stderr, "\r\x1b[Kfetching step %lld: %s", static_cast<long long>(chosen->checkpoint.step()), FormatBytes(bytes).c_str());
    return absl::OkStatus();
  };
  const auto model = FetchModel(&session->client(), *run, *chosen, options);
  if (progress) std::fputs("\r\x1b[K", stderr);
  if (absl::IsCancelled(model.status())) return session->Fail(model.status(), kExitInterrupted);
  if (!model.ok()) return session->Fail(model.status());
  const std::string quality =
      chosen->eval_loss ? StrCat("held-out loss ", FormatFixed(*chosen->eval_loss, 4), ", perplexity ", FormatPerplexity(*chosen->eval_loss))
                        : std::string("not evaluated at this step");
  session->Print(StrCat(Printable(run->summary().label()), " (", run->summary().id(), ") step ", chosen->checkpoint.step(), ": ", quality, "\n  ",
                        Printable(target), ": ", FormatBytes(model->bytes), ", tokeniser ",
                        model->tokenizer.empty() ? "not known any more" : Printable(model->tokenizer), "\n"),
                 FetchedJson(*run, *chosen, *model, target));
  return kExitOk;
}

int Fetch(Session* session, const FetchArguments& arguments) {
  std::string target;
  for (const std::string& output : arguments.outputs) {
    if (output == "table" || output == "json") session->output = output;
    else target = output;
  }
  if (target.empty()) return session->Fail(absl::InvalidArgumentError("-o DIR is missing: the folder to make; see entrain fetch --help"), kExitUsage);
  const SystemClock clock;
  const Interrupts interrupts;
  const auto visit = local::VisitIfNeeded(session, arguments.dir, &clock, &interrupts);
  if (!visit.ok()) return session->Fail(visit.status());
  return FetchFrom(session, arguments, target, interrupts);
}

}  // namespace

void AddFetch(CLI::App* app, Session* session) {
  const auto arguments = std::make_shared<FetchArguments>();
  CLI::App* command = AddCommand(app, session, "fetch",
      {"Brings a run's checkpoint home as a model folder",
       "Makes DIR with config.json, model.safetensors (Hugging Face GPT-2 names), the tokeniser and a README that says where they come from.\n"
       "Without --best, --last or STEP: the best, or the last where nothing was evaluated. DIR must not exist, or be empty.",
       "  entrain fetch r4f2 -o my-model\n  entrain fetch \"SM+LN+G seed=1\" --last -o my-model\n  entrain fetch r4f2 300 -o step-300 -o json"});
  command->add_option("RUN", arguments->run, "An id, the beginning of one, or a label of the newest sweep")->required();
  CLI::Option* step = command->add_option("STEP", arguments->step, "The checkpoint of this step")->check(CLI::NonNegativeNumber);
  CLI::Option* best = command->add_flag("--best", arguments->best, "The checkpoint with the lowest held-out loss")->excludes(step);
  command->add_flag("--last", arguments->last, "The newest checkpoint")->excludes(step)->excludes(best);
  command->add_flag("--training-state", arguments->training_state, "Also the optimiser's state and the run's position, to train on from");
  command->add_option("--dir", arguments->dir, "Folder of an `entrain local`, whose coordinator is started when none runs")->capture_default_str();
  command->add_option("-o,--output", arguments->outputs, "The folder to make; also table or json: how the result is written")
      ->allow_extra_args(false)
      ->group("Common options");
  command->callback([=] { session->command = [=] { return Fetch(session, *arguments); }; });
}

}  // namespace entrain::cli::command
