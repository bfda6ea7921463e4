#include "coordinator/server/decision_log.h"

#include <variant>

#include "absl/strings/str_join.h"
#include "base/log.h"
#include "base/overloaded.h"
#include "base/strings.h"

namespace entrain::server {
namespace {

std::string MachinesOf(const domain::Gang& gang) {
  return absl::StrJoin(gang.members, " ", [](std::string* text, const domain::GangMember& member) {
    StrAppend(text, member.worker.value(), "/", member.slots.size());
  });
}

void LogRun(std::string_view message, const RunId& run, const std::string& reason) {
  Log(LogLevel::kInfo, message, {{"run", run.value()}, {"reason", reason}});
}

void LogWorker(LogLevel level, std::string_view message, const WorkerId& worker, const std::string& reason) {
  Log(level, message, {{"worker", worker.value()}, {"reason", reason}});
}

void On(const domain::SweepAdmitted& fact) {
  Log(LogLevel::kInfo, "sweep submitted",
      {{"sweep", fact.sweep.value()}, {"name", fact.spec.name}, {"owner", fact.spec.owner}, {"runs", StrCat(fact.spec.runs.size())}});
}
void On(const domain::RunRetried& fact) {
  Log(LogLevel::kInfo, "run retried", {{"run", fact.run.value()}, {"of", fact.previous.value()}, {"by", fact.by}});
}
void On(const domain::RunRescued& fact) {
  Log(LogLevel::kInfo, "run rescued", {{"run", fact.run.value()}, {"of", fact.previous.value()}, {"from_step", StrCat(fact.from.step)}});
}
void On(const domain::RunPlaced& fact) {
  Log(LogLevel::kInfo, "run placed", {{"run", fact.key.run.value()}, {"attempt", StrCat(fact.key.attempt)}, {"machines", MachinesOf(fact.gang)},
                                      {"resume_step", StrCat(fact.resume_from.step)}});
}
void On(const domain::RunStarted& fact) {
  Log(LogLevel::kInfo, "run started", {{"run", fact.key.run.value()}, {"attempt", StrCat(fact.key.attempt)}});
}
void On(const domain::StopDecided& fact) {
  Log(LogLevel::kInfo, "run stopping", {{"run", fact.key.run.value()}, {"attempt", StrCat(fact.key.attempt)}, {"reason", fact.reason}});
}
void On(const domain::VerdictRecorded& fact) {
  Log(LogLevel::kWarning, "verdict", {{"run", fact.run.value()}, {"attempt", StrCat(fact.verdict.attempt)}, {"step", StrCat(fact.verdict.step)},
                                      {"rule", fact.verdict.rule}, {"action", std::string(domain::ToString(fact.verdict.action))},
                                      {"reason", fact.verdict.explanation}});
}
void On(const domain::AttemptClosed& fact) {
  const bool in_order = fact.end.cause == domain::EndCause::kCompleted || fact.end.cause == domain::EndCause::kStopped;
  Log(in_order ? LogLevel::kInfo : LogLevel::kWarning, "attempt closed",
      {{"run", fact.key.run.value()}, {"attempt", StrCat(fact.key.attempt)}, {"cause", std::string(domain::ToString(fact.end.cause))},
       {"step", StrCat(fact.end.last_step)}, {"reason", fact.end.message}});
}
void On(const domain::AttemptReclaimed& fact) {
  Log(LogLevel::kInfo, "attempt reclaimed", {{"run", fact.key.run.value()}, {"attempt", StrCat(fact.key.attempt)}});
}
void On(const domain::RunRequeued& fact) { LogRun("run queued again", fact.run, fact.reason); }
void On(const domain::RunPaused& fact) { LogRun("run paused", fact.run, fact.reason); }
void On(const domain::RunResumed& fact) { Log(LogLevel::kInfo, "run resumed", {{"run", fact.run.value()}, {"by", fact.by}}); }
void On(const domain::RunFinished& fact) {
  Log(LogLevel::kInfo, "run finished", {{"run", fact.run.value()}, {"state", std::string(domain::ToString(fact.state))},
                                        {"step", StrCat(fact.result_step)}, {"reason", fact.reason}});
}
void On(const domain::WorkerSilent& fact) { LogWorker(LogLevel::kWarning, "worker silent", fact.worker, "not heard within its lease"); }
void On(const domain::WorkerDraining& fact) {
  Log(LogLevel::kInfo, fact.draining ? "worker draining" : "worker takes runs again", {{"worker", fact.worker.value()}});
}
void On(const domain::WorkerQuarantined& fact) { LogWorker(LogLevel::kWarning, "worker quarantined", fact.worker, fact.reason); }
void On(const domain::WorkerReleased& fact) { LogWorker(LogLevel::kInfo, "worker out of quarantine", fact.worker, fact.reason); }
void On(const domain::WorkerForgotten& fact) { Log(LogLevel::kInfo, "worker forgotten", {{"worker", fact.worker.value()}, {"by", fact.by}}); }

}  // namespace

void LogDecision(const domain::Fact& fact) {
  std::visit(Overloaded{[](const auto& body) requires requires { On(body); } { On(body); }, [](const auto&) {}}, fact.body);
}

}  // namespace entrain::server
