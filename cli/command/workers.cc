#include <unistd.h>

#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "base/strings.h"
#include "cli/command/commands.h"
#include "cli/json_output.h"
#include "cli/session.h"
#include "cli/table.h"

namespace entrain::cli::command {
namespace {

int Workers(Session* session) {
  const auto workers = session->client().ListWorkers();
  if (!workers.ok()) return session->Fail(workers.status());
  Table table({{"WORKER"}, {"NAME"}, {"STATE"}, {"SLOTS"}, {"DEVICE"}, {"VERSION"}, {"REASON"}});
  nlohmann::json list = nlohmann::json::array();
  for (const v1::WorkerSummary& worker : workers->workers()) {
    table.Add({worker.id(), worker.name(), worker.state(),
               StrCat(worker.slots_used(), "/", worker.slots(), " ", worker.slot_kind()), worker.device(), worker.version(), worker.reason()},
              2, worker.state() == "live" ? Style::kGreen : Style::kYellow);
    list.push_back(ToJson(worker));
  }
  session->Print(table.empty() ? "no workers yet; start one with entrain-worker --coordinator HOST:PORT\n"
                               : table.Text(ColourOf(STDOUT_FILENO)),
                 list);
  return kExitOk;
}

int Act(Session* session, const std::string& worker, const std::string& action, const std::string& reason) {
  v1::ActOnWorkerRequest request;
  request.set_worker_id(worker);
  request.set_action(action);
  request.set_by(session->Asker());
  request.set_reason(reason);
  const auto response = session->client().ActOnWorker(request);
  if (!response.ok()) return session->Fail(response.status());
  const char* const became = action == "release" ? " is released\n" : action == "forget" ? " is forgotten\n" : " is in quarantine\n";
  session->Print(StrCat("worker ", response->worker_id(), became),
                 {{"worker_id", response->worker_id()}, {"action", action}});
  return kExitOk;
}

struct WorkersOptions {
  std::string quarantine;
  std::string release;
  std::string forget;
  std::string reason;
};

}  // namespace

void AddWorkers(CLI::App* app, Session* session) {
  const auto options = std::make_shared<WorkersOptions>();
  CLI::App* command = AddCommand(app, session, "workers",
      {"Lists the workers with their slots (used/all), puts one into quarantine, releases it, or forgets one that is gone",
       "Nothing new is placed on a worker in quarantine; what runs there runs on. A machine on which launches or devices fail again and\n"
       "again comes there by itself, and is released after half an hour. A worker whose machine is gone for good leaves the list with --forget;\n"
       "this is refused while it is connected, or while anything that it held is not known to have ended.",
       "  entrain workers\n  entrain workers -o json\n  entrain workers --quarantine host7 --reason \"fan\"\n  entrain workers --release host7\n  entrain workers --forget host7"});
  CLI::Option* quarantine = command->add_option("--quarantine", options->quarantine, "Give this worker nothing new until it is released");
  CLI::Option* release = command->add_option("--release", options->release, "End this worker's quarantine")->excludes(quarantine);
  command->add_option("--forget", options->forget, "Take this worker, drained and ended, off the list")->excludes(quarantine)->excludes(release);
  command->add_option("--reason", options->reason, "Why, for people")->needs(quarantine);
  command->callback([=] {
    session->command = [=] {
      if (!options->quarantine.empty()) return Act(session, options->quarantine, "quarantine", options->reason);
      if (!options->forget.empty()) return Act(session, options->forget, "forget", "");
      if (!options->release.empty()) return Act(session, options->release, "release", "");
      return Workers(session);
    };
  });
}

}  // namespace entrain::cli::command
