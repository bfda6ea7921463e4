#include "worker/agent/agent.h"

#include <unistd.h>

#include <filesystem>

#include "base/files.h"
#include "base/log.h"
#include "base/strings.h"
#include "proto/convert.h"
#include "worker/agent/launch_plan.h"
#include "worker/agent/text.h"

namespace entrain::agent {
namespace {

constexpr std::int64_t kTickMs = 50;
constexpr std::int64_t kRenewalMs = 5'000;
constexpr std::int64_t kMachineMetricsMs = 10'000;
constexpr int kTaskThreads = 4;
constexpr std::int64_t kStreamsEndMs = 2'000;
constexpr std::size_t kMaxMessageBytes = 16 << 10;

}  // namespace

Agent::Agent(AgentOptions options, artifacts::ArtifactStore* store, metrics::WorkerMetrics* metrics, const Clock* clock)
    : options_(std::move(options)),
      store_(store),
      metrics_(metrics),
      clock_(clock),
      core_(options_.self.id, options_.first_number, options_.core),
      generation_(options_.first_number),
      jitter_(options_.first_number, 0),
      tasks_(std::make_unique<KeyedTasks>(kTaskThreads)) {}

Agent::~Agent() {
  peer_server_.reset();
  link_.reset();
  const std::int64_t deadline_boot_ms = Now() + kStreamsEndMs;
  while (stream_token_.use_count() > 1 && Now() < deadline_boot_ms) mailbox_->RunFor(1);
  // Rather a channel that stays until the process ends than one that dies on gRPC's thread.
  if (stream_token_.use_count() > 1) new std::map<std::string, std::shared_ptr<grpc::Channel>>(channels_);
}

bool Agent::Run() {
  Restore();
  while (!Drained()) {
    if (drain_deadline_boot_ms_ >= 0 && Now() >= drain_deadline_boot_ms_) {
      Log(LogLevel::kWarning, "drain limit reached",
          {{"attempts", std::to_string(attempts_.size())}, {"reports", std::to_string(core_.unacknowledged_reports())}});
      return false;
    }
    mailbox_->RunFor(kTickMs);
    Tick();
  }
  return true;
}

void Agent::Drain(const std::string& reason) {
  mailbox_->Post([this, reason] {
    if (drain_deadline_boot_ms_ >= 0) return;
    drain_deadline_boot_ms_ = Now() + options_.drain_limit_ms;
    Log(LogLevel::kInfo, "draining", {{"reason", reason}, {"attempts", std::to_string(attempts_.size())}});
    On(worker::DrainAsked{.draining = true, .stop_attempts = true, .reason = reason});
    SendHeartbeat();
  });
}

bool Agent::Drained() const {
  return drain_deadline_boot_ms_ >= 0 && attempts_.empty() && core_.unacknowledged_reports() == 0 && tasks_->Idle();
}

void Agent::Restore() {
  away_since_boot_ms_ = Now();
  worker::Restored restored;
  std::vector<std::string> folders;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(options_.dir + "/attempts", error)) folders.push_back(entry.path().string());
  for (const std::string& folder : folders) {
    LocalAttempt* local = Adopt(folder);
    if (local == nullptr) continue;
    worker::RestoredAttempt known{.key = local->key, .started = local->delivery.ready, .member = local->member, .end = {}, .published = {}};
    known.published = local->journal.ReadPublished(local->key.attempt);
    for (const domain::Checkpoint& checkpoint : known.published) local->published.insert(checkpoint.step);
    restored.attempts.push_back(std::move(known));
  }
  On(restored);
}

void Agent::Tick() {
  const std::int64_t now = Now();
  On(worker::Ticked{});
  const bool renew = now >= next_renewal_boot_ms_;
  if (renew) next_renewal_boot_ms_ = now + kRenewalMs;
  std::vector<domain::AttemptKey> keys;
  for (const auto& [key, local] : attempts_) keys.push_back(key);
  for (const domain::AttemptKey& key : keys) {
    if (LocalAttempt* local = Find(key)) {
      if (renew && local->phase == Phase::kLive) launcher::RenewGang(local->folder.root()).IgnoreError();
      Poll(local);
    }
  }
  TickLink();
  SetMachineMetrics();
}

void Agent::SetMachineMetrics() {
  if (Now() < next_metrics_boot_ms_) return;
  next_metrics_boot_ms_ = Now() + kMachineMetricsMs;
  if (const absl::StatusOr<std::uint64_t> free = FreeBytes(options_.dir); free.ok()) {
    metrics_->SetDiskFree(static_cast<std::int64_t>(*free));
  }
}

void Agent::On(const worker::WorkerEvent& event) {
  for (const worker::WorkerAction& action : core_.On(event, Now())) {
    std::visit([this](const auto& what) { Do(what); }, action);
  }
  std::int64_t used = 0;
  for (const auto& [key, local] : attempts_) {
    if (local->phase == Phase::kEnded) continue;
    for (const v1::GangMember& member : local->launch.gang()) {
      if (member.worker_id() == options_.self.id.value()) used += member.slots_size();
    }
  }
  metrics_->SetSlots(options_.self.slots, used);
}

void Agent::Do(const worker::StartAttempt& action) {
  const auto found = launches_.find(action.launch.key);
  if (found == launches_.end()) return;
  const v1::Launch launch = std::move(found->second);
  launches_.erase(found);
  auto local = std::make_unique<LocalAttempt>(launch, FolderOf(action.launch.key));
  local->member = PlaceInGang(launch, options_.self.id) > 0;
  Log(LogLevel::kInfo, "launch", {{"run", action.launch.key.run.value()}, {"attempt", StrCat(action.launch.key.attempt)}, {"label", launch.label()},
                                  {"resume_step", std::to_string(launch.resume_from().step())}});
  Start(attempts_.insert_or_assign(action.launch.key, std::move(local)).first->second.get());
}

void Agent::Do(const worker::SendStop& action) {
  LocalAttempt* local = Find(action.key);
  if (local == nullptr || local->phase > Phase::kLive) return;
  Log(LogLevel::kInfo, "stop", {{"run", action.key.run.value()}, {"attempt", StrCat(action.key.attempt)}, {"reason", action.reason}});
  local->stop = action;
  TrySendStop(local);
}

void Agent::Do(const worker::KillAttempt& action) {
  LocalAttempt* local = Find(action.key);
  if (local == nullptr || local->phase > Phase::kLive) return;
  if (local->phase == Phase::kPrepared) return DropPrepared(local, domain::EndCause::kFenced, action.reason);
  Log(LogLevel::kWarning, "kill", {{"run", action.key.run.value()}, {"attempt", StrCat(action.key.attempt)}, {"reason", action.reason}});
  local->kill_reason = action.reason;
  tasks_->Add(action.key.ToString(), [folder = local->folder.root(), key = action.key] {
    const absl::Status killed = launcher::KillGang(folder, 0);
    if (!killed.ok()) Log(LogLevel::kError, "kill failed", {{"run", key.run.value()}, {"attempt", StrCat(key.attempt)}, {"reason", std::string(killed.message())}});
  });
}

void Agent::Do(const worker::SendReport& action) {
  if (!link_ || !welcomed_) return;
  v1::WorkerMessage message;
  if (const auto* started = std::get_if<domain::AttemptStarted>(&action.report)) {
    message.mutable_started()->set_report(started->report);
    *message.mutable_started()->mutable_key() = wire::ToWire(started->key);
  } else if (const auto* checkpoint = std::get_if<domain::CheckpointPublished>(&action.report)) {
    message.mutable_checkpoint()->set_report(checkpoint->report);
    *message.mutable_checkpoint()->mutable_key() = wire::ToWire(checkpoint->key);
    *message.mutable_checkpoint()->mutable_checkpoint() = wire::ToWire(checkpoint->checkpoint);
  } else if (const auto* ended = std::get_if<domain::AttemptEnded>(&action.report)) {
    *message.mutable_ended() = wire::ToWire(ended->end);
    message.mutable_ended()->set_message(ValidUtf8(ended->end.message, kMaxMessageBytes));
    message.mutable_ended()->set_report(ended->report);
    *message.mutable_ended()->mutable_key() = wire::ToWire(ended->key);
  }
  if (!link_->SendControl(std::move(message))) LoseLink("the control queue is full");
}

void Agent::Do(const worker::DropAttempt& action) {
  const auto found = attempts_.find(action.key);
  if (found == attempts_.end()) return;
  const std::string folder = found->second->folder.root();
  if (found->second->phase != Phase::kEnded && !found->second->member) metrics_->RunEnded(action.key.run.value());
  attempts_.erase(found);
  tasks_->Add(action.key.ToString(), [folder, key = action.key] {
    const absl::Status killed = launcher::KillGang(folder, 0);
    std::error_code error;
    std::filesystem::remove(launcher::RuntimePathsOf(folder, ::geteuid()).grant, error);
    if (killed.ok()) std::filesystem::remove_all(folder, error);
    if (!killed.ok()) Log(LogLevel::kError, "kill failed", {{"run", key.run.value()}, {"attempt", StrCat(key.attempt)}, {"reason", std::string(killed.message())}});
    if (error) Log(LogLevel::kError, "delete failed", {{"folder", folder}, {"reason", error.message()}});
  });
}

}  // namespace entrain::agent
