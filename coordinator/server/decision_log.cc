#include "coordinator/server/decision_log.h"

#include <utility>
#include <variant>

#include "absl/strings/str_join.h"
#include "base/log_line.h"
#include "base/overloaded.h"
#include "base/strings.h"

namespace entrain::server {
namespace {

constexpr std::size_t kMostWaiting = 20'000;

std::string MachinesOf(const domain::Gang& gang) {
  return absl::StrJoin(gang.members, " ", [](std::string* text, const domain::GangMember& member) {
    StrAppend(text, member.worker.value(), "/", member.slots.size());
  });
}

DecisionLine OfRun(std::string_view message, const RunId& run, const std::string& reason) {
  return {LogLevel::kInfo, message, {{"run", run.value()}, {"reason", reason}}};
}

DecisionLine OfWorker(LogLevel level, std::string_view message, const WorkerId& worker, const std::string& reason) {
  return {level, message, {{"worker", worker.value()}, {"reason", reason}}};
}

DecisionLine On(const domain::SweepAdmitted& fact) {
  return {LogLevel::kInfo, "sweep submitted",
      {{"sweep", fact.sweep.value()}, {"name", fact.spec.name}, {"owner", fact.spec.owner}, {"runs", StrCat(fact.spec.runs.size())}}};
}
DecisionLine On(const domain::RunRetried& fact) {
  return {LogLevel::kInfo, "run retried", {{"run", fact.run.value()}, {"of", fact.previous.value()}, {"by", fact.by}}};
}
DecisionLine On(const domain::RunRescued& fact) {
  return {LogLevel::kInfo, "run rescued", {{"run", fact.run.value()}, {"of", fact.previous.value()}, {"from_step", StrCat(fact.from.step)}}};
}
DecisionLine On(const domain::RunPlaced& fact) {
  return {LogLevel::kInfo, "run placed", {{"run", fact.key.run.value()}, {"attempt", StrCat(fact.key.attempt)}, {"machines", MachinesOf(fact.gang)},
                                      {"resume_step", StrCat(fact.resume_from.step)}}};
}
DecisionLine On(const domain::RunStarted& fact) {
  return {LogLevel::kInfo, "run started", {{"run", fact.key.run.value()}, {"attempt", StrCat(fact.key.attempt)}}};
}
DecisionLine On(const domain::StopDecided& fact) {
  return {LogLevel::kInfo, "run stopping", {{"run", fact.key.run.value()}, {"attempt", StrCat(fact.key.attempt)}, {"reason", fact.reason}}};
}
DecisionLine On(const domain::VerdictRecorded& fact) {
  return {LogLevel::kWarning, "verdict", {{"run", fact.run.value()}, {"attempt", StrCat(fact.verdict.attempt)}, {"step", StrCat(fact.verdict.step)},
                                      {"rule", fact.verdict.rule}, {"action", std::string(domain::ToString(fact.verdict.action))},
                                      {"reason", fact.verdict.explanation}}};
}
DecisionLine On(const domain::AttemptClosed& fact) {
  const bool in_order = fact.end.cause == domain::EndCause::kCompleted || fact.end.cause == domain::EndCause::kStopped;
  return {in_order ? LogLevel::kInfo : LogLevel::kWarning, "attempt closed",
      {{"run", fact.key.run.value()}, {"attempt", StrCat(fact.key.attempt)}, {"cause", std::string(domain::ToString(fact.end.cause))},
       {"step", StrCat(fact.end.last_step)}, {"reason", fact.end.message}}};
}
DecisionLine On(const domain::AttemptReclaimed& fact) {
  return {LogLevel::kInfo, "attempt reclaimed", {{"run", fact.key.run.value()}, {"attempt", StrCat(fact.key.attempt)}}};
}
DecisionLine On(const domain::RunRequeued& fact) { return OfRun("run queued again", fact.run, fact.reason); }
DecisionLine On(const domain::RunPaused& fact) { return OfRun("run paused", fact.run, fact.reason); }
DecisionLine On(const domain::RunResumed& fact) { return {LogLevel::kInfo, "run resumed", {{"run", fact.run.value()}, {"by", fact.by}}}; }
DecisionLine On(const domain::RunFinished& fact) {
  return {LogLevel::kInfo, "run finished", {{"run", fact.run.value()}, {"state", std::string(domain::ToString(fact.state))},
                                        {"step", StrCat(fact.result_step)}, {"reason", fact.reason}}};
}
DecisionLine On(const domain::WorkerSilent& fact) { return OfWorker(LogLevel::kWarning, "worker silent", fact.worker, "not heard within its lease"); }
DecisionLine On(const domain::WorkerDraining& fact) {
  return {LogLevel::kInfo, fact.draining ? "worker draining" : "worker takes runs again", {{"worker", fact.worker.value()}}};
}
DecisionLine On(const domain::WorkerQuarantined& fact) { return OfWorker(LogLevel::kWarning, "worker quarantined", fact.worker, fact.reason); }
DecisionLine On(const domain::WorkerReleased& fact) { return OfWorker(LogLevel::kInfo, "worker out of quarantine", fact.worker, fact.reason); }
DecisionLine On(const domain::WorkerForgotten& fact) { return {LogLevel::kInfo, "worker forgotten", {{"worker", fact.worker.value()}, {"by", fact.by}}}; }

}  // namespace

std::optional<DecisionLine> LineOf(const domain::Fact& fact) {
  using Line = std::optional<DecisionLine>;
  return std::visit(Overloaded{[](const auto& body) -> Line requires requires { On(body); } { return On(body); }, [](const auto&) -> Line { return std::nullopt; }},
                    fact.body);
}

DecisionLog::DecisionLog() : thread_([this] { Run(); }) {}

DecisionLog::~DecisionLog() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    ending_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void DecisionLog::Add(const domain::Fact& fact) {
  std::optional<DecisionLine> line = LineOf(fact);
  if (!line.has_value()) return;
  std::lock_guard<std::mutex> lock(mutex_);
  if (waiting_.size() >= kMostWaiting) {
    ++dropped_;
    return;
  }
  waiting_.push_back(*std::move(line));
  changed_.notify_one();
}

void DecisionLog::Run() {
  for (bool ending = false; !ending;) {
    std::vector<DecisionLine> lines;
    std::int64_t dropped = 0;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
      lines = std::exchange(waiting_, {});
      dropped = std::exchange(dropped_, 0);
      ending = ending_;
    }
    for (DecisionLine& line : lines) Log(line.level, line.message, std::move(line.fields));
    if (dropped > 0) Log(LogLevel::kWarning, "decisions without a line: standard error did not keep up", {{"count", StrCat(dropped)}});
  }
}

}  // namespace entrain::server
