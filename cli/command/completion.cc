#include "cli/completion.h"

#include <cstdio>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "cli/command/commands.h"
#include "cli/session.h"

namespace entrain::cli::command {
namespace {

int Completion(const CLI::App& program, const std::string& shell) {
  const std::vector<CommandShape> shapes = ShapesOf(program);
  const std::string script = shell == "bash" ? BashCompletion(shapes) : shell == "zsh" ? ZshCompletion(shapes) : FishCompletion(shapes);
  std::fwrite(script.data(), 1, script.size(), stdout);
  return kExitOk;
}

}  // namespace

void AddCompletion(CLI::App* app, Session* session) {
  const auto shell = std::make_shared<std::string>();
  CLI::App* command = app->add_subcommand("completion", "Prints the completion script of a shell");
  command->footer(
      "Examples:\n  source <(entrain completion bash)\n  entrain completion zsh > ~/.zfunc/_entrain\n"
      "  entrain completion fish > ~/.config/fish/completions/entrain.fish");
  command->add_option("SHELL", *shell, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command->callback([=] { session->command = [=] { return Completion(*app, *shell); }; });
}

}  // namespace entrain::cli::command
