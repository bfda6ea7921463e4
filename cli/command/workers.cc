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

std::string PoolsText(const v1::ListWorkersResponse& workers) {
  Table table({{"POOL"}, {"ENGINE"}, {"MACHINES"}, {"SLOTS"}, {"STATE"}});
  std::string problems;
  for (const v1::PoolSummary& pool : workers.pools()) {
    std::string state = pool.doing();
    for (const std::string& reason : pool.pending_reasons()) StrAppend(&state, state.empty() ? "" : "; ", "pending: ", reason);
    table.Add({pool.name(), pool.engine(),
               StrCat(pool.up(), " up, ", pool.pending(), " pending, ", pool.leaving(), " leaving; ", pool.min_machines(), " to ", pool.max_machines()),
               StrCat(pool.slots(), " ", pool.slot_kind()), state},
              4, pool.problem().empty() ? Style::kGreen : Style::kYellow);
    if (!pool.problem().empty()) StrAppend(&problems, "pool ", pool.name(), ": ", pool.problem(), "\n");
  }
  return StrCat(table.Text(ColourOf(STDOUT_FILENO)), problems);
}

int Pools(Session* session) {
  const auto workers = session->client().ListWorkers();
  if (!workers.ok()) return session->Fail(workers.status());
  nlohmann::json list = nlohmann::json::array();
  for (const v1::PoolSummary& pool : workers->pools()) list.push_back(ToJson(pool));
  session->Print(list.empty() ? "no pools; entrain-coordinator --pool FILE makes one\n" : PoolsText(*workers), list);
  return kExitOk;
}

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
  const std::string text =
      table.empty() ? "no workers yet; start one with entrain-worker --coordinator HOST:PORT\n" : table.Text(ColourOf(STDOUT_FILENO));
  session->Print(workers->pools().empty() ? text : StrCat(text, "\n", PoolsText(*workers)), list);
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
  const char* const became = action == "release" ? " is released\n" : action == "forget" || action == "gone" ? " is forgotten\n" : " is in quarantine\n";
  session->Print(StrCat("worker ", response->worker_id(), became),
                 {{"worker_id", response->worker_id()}, {"action", action}});
  return kExitOk;
}

struct WorkersOptions {
  std::string quarantine;
  std::string release;
  std::string forget;
  std::string gone;
  std::string reason;
  bool pools = false;
};

}  // namespace

void AddWorkers(CLI::App* app, Session* session) {
  const auto options = std::make_shared<WorkersOptions>();
  CLI::App* command = AddCommand(app, session, "workers",
      {"Lists the workers with their slots (used/all), puts one into quarantine, releases it, or forgets one that is gone",
       "Nothing new is placed on a worker in quarantine; what runs there runs on. A machine on which launches or devices fail again and\n"
       "again comes there by itself, and is released after half an hour. A worker whose machine is gone for good leaves the list with --forget;\n"
       "this is refused while it is connected, or while anything that it held is not known to have ended. --gone says that the machine does not\n"
       "exist any more: what it held is lost, its runs are queued again at once, and it leaves the list.\n"
       "With pools (entrain-coordinator --pool) the list ends with them: machines at the engine, and what is done about them. As JSON they come\n"
       "with --pools alone.",
       "  entrain workers\n  entrain workers -o json\n  entrain workers --quarantine host7 --reason \"fan\"\n  entrain workers --release host7\n  entrain workers --forget host7"});
  CLI::Option* quarantine = command->add_option("--quarantine", options->quarantine, "Give this worker nothing new until it is released");
  CLI::Option* release = command->add_option("--release", options->release, "End this worker's quarantine")->excludes(quarantine);
  command->add_option("--forget", options->forget, "Take this worker, drained and ended, off the list")->excludes(quarantine)->excludes(release);
  command->add_option("--gone", options->gone, "Take this worker, whose machine does not exist any more, off the list")->excludes(quarantine)->excludes(release);
  command->add_flag("--pools", options->pools, "The elastic pools alone");
  command->add_option("--reason", options->reason, "Why, for people")->needs(quarantine);
  command->callback([=] {
    session->command = [=] {
      if (!options->quarantine.empty()) return Act(session, options->quarantine, "quarantine", options->reason);
      if (!options->forget.empty()) return Act(session, options->forget, "forget", "");
      if (!options->gone.empty()) return Act(session, options->gone, "gone", "");
      if (!options->release.empty()) return Act(session, options->release, "release", "");
      return options->pools ? Pools(session) : Workers(session);
    };
  });
}

}  // namespace entrain::cli::command
