#include "cli/program.h"

#include <iostream>
#include <string_view>

#include "base/build_id.h"
#include "base/strings.h"
#include "cli/command/commands.h"

namespace entrain::cli {
namespace {

// The parser failed before it could tell: whether the user asked for JSON.
bool AsksForJson(int argc, const char* const* argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "-ojson" || word == "--output=json") return true;
    if ((word == "-o" || word == "--output") && i + 1 < argc && std::string_view(argv[i + 1]) == "json") return true;
  }
  return false;
}

int ParseFailed(const CLI::App& app, const CLI::ParseError& error, Session* session) {
  // --help and --version end the parsing this way too.
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) return app.exit(error, std::cout, std::cerr) * 0;
  const CLI::App* command = &app;
  while (!command->get_subcommands().empty()) command = command->get_subcommands().front();
  const std::string name = command == &app ? "" : StrCat(" ", command->get_name());
  std::string message = error.what();
  if (!session->json()) StrAppend(&message, "; see entrain", name, " --help");
  return session->Fail(absl::InvalidArgumentError(message), kExitUsage);
}

}  // namespace

std::unique_ptr<CLI::App> MakeProgram(Session* session) {
  auto app = std::make_unique<CLI::App>(
      "entrain: trains sweeps of transformer variants, watches the entropy of every attention head, stops runs that collapse, and "
      "reports which variant is best",
      "entrain");
  app->set_version_flag("--version", VersionLine("entrain"), "Prints version and build id");
  app->require_subcommand(1);
  app->footer(
      "Examples:\n  entrain local examples/quickstart.yaml      one machine, nothing to set up\n"
      "  entrain submit sweep.yaml && entrain watch  on a coordinator\n  entrain explain \"SM seed=1\"                 why was it stopped\n\n"
      "Exit codes: 0 fine, 1 error, 64 usage, 65 unusable sweep or data, 69 coordinator unreachable; of a finished sweep (local, wait, "
      "watch): 3 some runs stopped by a health rule, 4 some failed, 5 some cancelled");
  command::AddLocal(app.get(), session);
  command::AddValidate(app.get(), session);
  command::AddSubmit(app.get(), session);
  command::AddWatch(app.get(), session);
  command::AddWait(app.get(), session);
  command::AddList(app.get(), session);
  command::AddDescribe(app.get(), session);
  command::AddExplain(app.get(), session);
  command::AddLogs(app.get(), session);
  command::AddStop(app.get(), session);
  command::AddPause(app.get(), session);
  command::AddResume(app.get(), session);
  command::AddRetry(app.get(), session);
  command::AddFetch(app.get(), session);
  command::AddReport(app.get(), session);
  command::AddExport(app.get(), session);
  command::AddCost(app.get(), session);
  command::AddWorkers(app.get(), session);
  command::AddRelease(app.get(), session);
  command::AddGc(app.get(), session);
  command::AddData(app.get(), session);
  command::AddToken(app.get(), session);
  command::AddPolicy(app.get(), session);
  command::AddCompletion(app.get(), session);
  return app;
}

int RunProgram(int argc, const char* const* argv) {
  Session session;
  const std::unique_ptr<CLI::App> app = MakeProgram(&session);
  try {
    app->parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (AsksForJson(argc, argv)) session.output = "json";
    return ParseFailed(*app, error, &session);
  }
  if (!session.tls.empty()) {
    if (const absl::Status usable = transport::CheckTlsFiles(session.tls); !usable.ok()) return session.Fail(usable, kExitUsage);
  }
  if (const absl::Status usable = session.ReadToken(); !usable.ok()) return session.Fail(usable, kExitUsage);
  return session.command();
}

}  // namespace entrain::cli
