#include "worker/core/worker_core.h"

#include <algorithm>
#include <utility>

#include "base/strings.h"

namespace entrain::worker {

using domain::AttemptEnd;
using domain::AttemptKey;
using domain::EndCause;
using domain::StopMode;

const AttemptKey& KeyOf(const Report& report) {
  return std::visit([](const auto& body) -> const AttemptKey& { return body.key; }, report);
}
std::uint64_t NumberOf(const Report& report) {
  return std::visit([](const auto& body) { return body.report; }, report);
}

WorkerCore::WorkerCore(WorkerId worker, std::uint64_t first_report, const WorkerCoreConfig& config)
    : worker_(std::move(worker)), config_(config), next_report_(first_report) {}

std::vector<WorkerAction> WorkerCore::On(const WorkerEvent& event, std::int64_t now_ms) {
  if (!away_since_ms_.has_value()) away_since_ms_ = now_ms;
  std::visit([&](const auto& body) { Handle(body, now_ms); }, event);
  return std::exchange(actions_, {});
}

std::vector<AttemptKey> WorkerCore::HelloAttempts() const {
  std::set<AttemptKey> named;
  for (const auto& [key, local] : attempts_) {
    // One that ended and whose end is acknowledged is over for the coordinator; only its samples may be on their way.
    if (!local.end.has_value()) named.insert(key);
  }
  for (const auto& [number, report] : reports_) named.insert(KeyOf(report));
  return {named.begin(), named.end()};
}

std::vector<AttemptKey> WorkerCore::LiveAttempts() const {
  std::vector<AttemptKey> live;
  for (const auto& [key, local] : attempts_) {
    if (!local.end.has_value()) live.push_back(key);
  }
  return live;
}

void WorkerCore::AddReport(Report report) {
  const std::uint64_t number = next_report_++;
  std::visit(
      [&](auto& body) {
        body.worker = worker_;
        body.report = number;
      },
      report);
  if (connected_) actions_.push_back(SendReport{report});
  reports_.emplace(number, std::move(report));
}

bool WorkerCore::HasReports(const AttemptKey& key) const {
  return std::any_of(reports_.begin(), reports_.end(), [&](const auto& entry) { return KeyOf(entry.second) == key; });
}

void WorkerCore::DropIfDone(const AttemptKey& key) {
  const auto found = attempts_.find(key);
  if (found == attempts_.end()) return;
  const Local& local = found->second;
  // The samples of a replaced attempt count for nothing; all others must have arrived.
  if (!local.end.has_value() || !(local.delivered || local.forgotten) || HasReports(key)) return;
  attempts_.erase(found);
  actions_.push_back(DropAttempt{key});
}

void WorkerCore::Kill(const AttemptKey& key, Local* local, const std::string& reason, std::int64_t now_ms) {
  local->kill_at_ms = now_ms + config_.kill_again_ms;
  actions_.push_back(KillAttempt{key, reason});
}

void WorkerCore::Stop(const AttemptKey& key, Local* local, StopMode mode, const std::string& reason, std::int64_t now_ms) {
  if (local->end.has_value() || local->forgotten) return;
  const bool stronger = local->stopping == StopMode::kCheckpoint && mode == StopMode::kNow;
  if (local->stopping.has_value() && !stronger) return;
  local->stopping = mode;
  local->stop_reason = reason;
  // Before the gang is up nobody listens and there is nothing to save.
  if (!local->started && !local->member) {
    Kill(key, local, reason, now_ms);
    return;
  }
  actions_.push_back(SendStop{key, mode, reason});
  const std::int64_t kill_at_ms = now_ms + (mode == StopMode::kNow ? config_.now_grace_ms : config_.checkpoint_grace_ms);
  local->kill_at_ms = std::min(local->kill_at_ms.value_or(kill_at_ms), kill_at_ms);
}

void WorkerCore::Forget(const AttemptKey& key, const std::string& reason, std::int64_t now_ms) {
  AttemptNumber& newest = newest_[key.run];
  newest = std::max(newest, key.attempt);
  const auto found = attempts_.find(key);
  if (found == attempts_.end()) {
    // The coordinator thinks that it holds slots here; unless news of its end is on the way, say that it does not.
    if (!HasReports(key)) AddReport(domain::AttemptEnded{{}, 0, key, AttemptEnd{.cause = EndCause::kFenced, .message = "not on this worker"}});
    return;
  }
  Local& local = found->second;
  if (local.forgotten) return;
  local.forgotten = true;
  if (!local.end.has_value()) Kill(key, &local, reason, now_ms);
  // The coordinator asks since its slots here count as held: its end was told while its gang was taken to live, which freed nothing.
  if (local.member && local.end.has_value() && !HasReports(key)) AddReport(domain::AttemptEnded{{}, 0, key, *local.end});
  DropIfDone(key);
}

void WorkerCore::Handle(const Restored& event, std::int64_t) {
  for (const RestoredAttempt& found : event.attempts) {
    const AttemptKey& key = found.key;
    if (attempts_.contains(key)) continue;
    AttemptNumber& newest = newest_[key.run];
    newest = std::max(newest, key.attempt);
    Local& local = attempts_[key];
    local.started = found.started;
    local.member = found.member;
    local.end = found.end;
    if (found.started) AddReport(domain::AttemptStarted{{}, 0, key});
    for (const domain::Checkpoint& checkpoint : found.published) AddReport(domain::CheckpointPublished{{}, 0, key, checkpoint});
    if (found.end.has_value()) AddReport(domain::AttemptEnded{{}, 0, key, *found.end});
  }
}

void WorkerCore::Handle(const Connected&, std::int64_t now_ms) {
  connected_ = true;
  away_since_ms_ = now_ms;
  for (const auto& [number, report] : reports_) actions_.push_back(SendReport{report});
}

void WorkerCore::Handle(const Disconnected&, std::int64_t now_ms) {
  if (connected_) away_since_ms_ = now_ms;
  connected_ = false;
}

void WorkerCore::Handle(const LeaseRenewed& event, std::int64_t now_ms) {
  lease_until_ms_ = now_ms + event.lease_ms;
  away_since_ms_ = now_ms;
}

void WorkerCore::Handle(const Launched& event, std::int64_t now_ms) {
  const AttemptKey& key = event.launch.key;
  if (attempts_.contains(key) || HasReports(key)) return;
  AttemptNumber& newest = newest_[key.run];
  if (key.attempt <= newest) {
    // It was here and is over, or a stop or a successor overtook it: it starts nothing, and the coordinator hears that.
    AddReport(domain::AttemptEnded{{}, 0, key, AttemptEnd{.cause = EndCause::kFenced, .message = "launched after it was over"}});
    return;
  }
  newest = key.attempt;
  if (draining_stops_) {
    AddReport(domain::AttemptEnded{{}, 0, key, AttemptEnd{.cause = EndCause::kStopped, .message = drain_reason_}});
    return;
  }
  for (auto& [other, local] : attempts_) {
    if (other.run != key.run || local.forgotten) continue;
    local.forgotten = true;
    if (!local.end.has_value()) Kill(other, &local, StrCat("replaced by attempt ", key.attempt), now_ms);
  }
  const std::vector<domain::GangMember>& members = event.launch.gang.members;
  attempts_[key] = Local{.member = !members.empty() && members.front().worker != worker_};
  actions_.push_back(StartAttempt{event.launch});
}

void WorkerCore::Handle(const StopAsked& event, std::int64_t now_ms) {
  const AttemptKey& key = event.stop.key;
  const auto found = attempts_.find(key);
  if (found != attempts_.end()) {
    Stop(key, &found->second, event.stop.mode, event.stop.reason, now_ms);
    return;
  }
  if (HasReports(key)) return;
  // Its launch never arrived, and must not start it any more.
  AttemptNumber& newest = newest_[key.run];
  newest = std::max(newest, key.attempt);
  AddReport(domain::AttemptEnded{{}, 0, key, AttemptEnd{.cause = EndCause::kStopped, .message = "stopped before it was launched"}});
}

void WorkerCore::Handle(const ForgetAsked& event, std::int64_t now_ms) { Forget(event.key, "replaced or unknown to the coordinator", now_ms); }

void WorkerCore::Handle(const SamplesFenced& event, std::int64_t now_ms) {
  if (attempts_.contains(event.key)) Forget(event.key, "replaced: its samples were refused", now_ms);
}

void WorkerCore::Handle(const ReportAcknowledged& event, std::int64_t) {
  const auto found = reports_.find(event.report);
  if (found == reports_.end()) return;
  const AttemptKey key = KeyOf(found->second);
  reports_.erase(found);
  DropIfDone(key);
}

void WorkerCore::Handle(const GangUp& event, std::int64_t now_ms) {
  const auto found = attempts_.find(event.key);
  if (found == attempts_.end() || found->second.started || found->second.end.has_value()) return;
  Local& local = found->second;
  local.started = true;
  AddReport(domain::AttemptStarted{{}, 0, event.key});
  if (!draining_stops_ || local.stopping.has_value()) return;
  Stop(event.key, &local, StopMode::kCheckpoint, drain_reason_, now_ms);
}

void WorkerCore::Handle(const CheckpointReady& event, std::int64_t) {
  const auto found = attempts_.find(event.key);
  if (found == attempts_.end() || found->second.forgotten) return;
  AddReport(domain::CheckpointPublished{{}, 0, event.key, event.checkpoint});
}

void WorkerCore::Handle(const SupervisorEnded& event, std::int64_t) {
  const auto found = attempts_.find(event.key);
  if (found == attempts_.end() || found->second.end.has_value()) return;
  Local& local = found->second;
  AttemptEnd end = event.end;
  const bool killed = end.cause == EndCause::kCrashed || end.cause == EndCause::kLaunch;
  if (local.forgotten) {
    end.cause = EndCause::kFenced;
  } else if (local.stopping.has_value() && killed) {
    // It was asked to end and did not get to write a record of its own.
    end.cause = EndCause::kStopped;
    if (end.message.empty()) end.message = local.stop_reason;
  }
  local.end = end;
  local.kill_at_ms.reset();
  AddReport(domain::AttemptEnded{{}, 0, event.key, std::move(end)});
}

void WorkerCore::Handle(const EventsDelivered& event, std::int64_t) {
  const auto found = attempts_.find(event.key);
  if (found == attempts_.end()) return;
  found->second.delivered = true;
  DropIfDone(event.key);
}

void WorkerCore::Handle(const DrainAsked& event, std::int64_t now_ms) {
  draining_ = event.draining;
  draining_stops_ = event.draining && event.stop_attempts;
  drain_reason_ = event.reason;
  if (!draining_stops_) return;
  for (auto& [key, local] : attempts_) Stop(key, &local, StopMode::kCheckpoint, event.reason, now_ms);
}

void WorkerCore::Handle(const Ticked&, std::int64_t now_ms) {
  const bool alone = !connected_ && now_ms - *away_since_ms_ >= config_.isolation_limit_ms;
  for (auto& [key, local] : attempts_) {
    if (local.end.has_value()) continue;
    if (alone) {
      Stop(key, &local, StopMode::kCheckpoint,
           StrCat("the coordinator was away for ", config_.isolation_limit_ms / 1000, " s"), now_ms);
    }
    if (local.kill_at_ms.has_value() && now_ms >= *local.kill_at_ms) Kill(key, &local, "it did not end in time", now_ms);
  }
}

}  // namespace entrain::worker
