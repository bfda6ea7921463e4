// The commands of the program, one source file each. Every function adds its subcommand to `app`.
#pragma once

namespace CLI {
class App;
}
namespace entrain::cli {
class Session;
}

namespace entrain::cli::command {

void AddValidate(CLI::App* app, Session* session);
void AddSubmit(CLI::App* app, Session* session);
void AddList(CLI::App* app, Session* session);
void AddDescribe(CLI::App* app, Session* session);
void AddExplain(CLI::App* app, Session* session);
void AddWatch(CLI::App* app, Session* session);
void AddWait(CLI::App* app, Session* session);
void AddLogs(CLI::App* app, Session* session);
void AddStop(CLI::App* app, Session* session);
void AddPause(CLI::App* app, Session* session);
void AddResume(CLI::App* app, Session* session);
void AddRetry(CLI::App* app, Session* session);
void AddFetch(CLI::App* app, Session* session);
void AddRelease(CLI::App* app, Session* session);
void AddGc(CLI::App* app, Session* session);
void AddExport(CLI::App* app, Session* session);
void AddPolicy(CLI::App* app, Session* session);
void AddReport(CLI::App* app, Session* session);
void AddCost(CLI::App* app, Session* session);
void AddWorkers(CLI::App* app, Session* session);
void AddData(CLI::App* app, Session* session);
void AddToken(CLI::App* app, Session* session);
void AddLocal(CLI::App* app, Session* session);
void AddCompletion(CLI::App* app, Session* session);

}  // namespace entrain::cli::command
