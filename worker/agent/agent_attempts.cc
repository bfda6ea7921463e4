// The daemon's work on single attempts: start, read, publish, collect.
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "base/files.h"
#include "base/log.h"
#include "base/strings.h"
#include "worker/agent/agent.h"
#include "worker/agent/gang_machines.h"
#include "worker/agent/launch_plan.h"
#include "worker/attempt/control_socket.h"

namespace entrain::agent {
namespace {

using domain::AttemptEnd;
using domain::AttemptKey;
using domain::EndCause;

// How long the coordinator must have been away before a gang is paused in its place.
constexpr std::int64_t kAwayPatienceMs = 30'000;
constexpr int kPublishTries = 3;
constexpr auto kPublishPause = std::chrono::seconds(1);
constexpr std::int64_t kPublishAgainMs = 2'000;
// How long the log of an ended attempt may hold its folder back once its samples are delivered.
constexpr std::int64_t kLogPatienceMs = 10'000;
// How long a part waits for its gang's head: for the start, and at the end for the question what it left.
constexpr std::int64_t kPreparedLimitMs = 60'000;
constexpr std::int64_t kHeadPatienceMs = 45'000;

// Makes the folder, on a gang's other machines their parts too, and starts the supervisor. An end when that was not possible; nothing is left behind then.
std::optional<AttemptEnd> MakeAndStart(const v1::Launch& launch, const domain::WorkerInfo& self, const artifacts::ArtifactStore& store,
                                       const std::string& folder, const launcher::LaunchOptions& options, const transport::TlsFiles& tls) {
  if (std::optional<AttemptEnd> end = MakeAttemptFolder(launch, self, store, folder)) return end;
  absl::Status status;
  if (SpansMachines(launch)) {
    if (std::optional<AttemptEnd> end = PrepareMachines(launch, folder, tls)) {
      RemoveAttemptFolder(folder);
      return end;
    }
  }
  status = launcher::StartSupervisor(folder, options);
  // It stands, or it stood and the folder tells how it ended.
  if (status.ok() || absl::IsFailedPrecondition(status)) return std::nullopt;
  if (SpansMachines(launch)) CollectGangEnd(folder, {});
  RemoveAttemptFolder(folder);
  return AttemptEnd{.cause = EndCause::kLaunch, .message = std::string(status.message())};
}

// A root behind the coordinator while that is away: the checkpoint waits on this machine, as its record does.
bool IsOutOfReach(const absl::Status& status) { return absl::IsUnavailable(status) || absl::IsAborted(status) || absl::IsDeadlineExceeded(status); }

absl::StatusOr<domain::Checkpoint> PublishWithRetries(artifacts::ArtifactStore* store, const AttemptJournal& journal, const AttemptKey& key,
                                                      const attempt::CheckpointWritten& written, const std::string& local_dir) {
  absl::StatusOr<std::string> path = absl::UnknownError("not tried");
  for (int tries = 0; tries < kPublishTries && !path.ok(); ++tries) {
    if (tries > 0) std::this_thread::sleep_for(kPublishPause);
    path = store->PublishCheckpoint(key, written.step, local_dir);
    if (IsOutOfReach(path.status())) break;
  }
  if (!path.ok()) return path.status();
  domain::Checkpoint checkpoint{key.attempt, written.step, *path, written.bytes, written.hash, written.best_step};
  if (absl::Status kept = journal.AddPublished(checkpoint); !kept.ok()) return kept;
  std::error_code ignored;
  std::filesystem::remove_all(local_dir, ignored);
  return checkpoint;
}

}  // namespace

LocalAttempt* Agent::Find(const AttemptKey& key) {
  const auto found = attempts_.find(key);
  return found == attempts_.end() ? nullptr : found->second.get();
}

std::string Agent::FolderOf(const AttemptKey& key) const { return StrCat(options_.dir, "/attempts/", key.ToString()); }

LocalAttempt* Agent::Adopt(const std::string& folder) {
  const absl::StatusOr<v1::Launch> launch = AttemptJournal(folder).ReadLaunch();
  const absl::StatusOr<attempt::AttemptSpec> spec = attempt::AttemptFolder(folder).ReadSpec();
  const absl::StatusOr<launcher::GangState> state = launcher::FindSupervisor(folder);
  const bool never_started = state.ok() && *state == launcher::GangState::kNotStarted;
  // A gang over several machines begins as a whole or not at all.
  if (!launch.ok() || !spec.ok() || (never_started && SpansMachines(*launch))) {
    // The launch did not get as far as a process; the coordinator sends it again.
    Log(LogLevel::kWarning, "incomplete attempt folder deleted", {{"folder", folder}});
    RemoveAttemptFolder(folder);
    return nullptr;
  }
  auto made = std::make_unique<LocalAttempt>(*launch, folder);
  LocalAttempt* local = attempts_.insert_or_assign(made->key, std::move(made)).first->second.get();
  local->member = PlaceInGang(*launch, options_.self.id) > 0;
  Log(LogLevel::kInfo, "attempt adopted", {{"run", local->key.run.value()}, {"attempt", StrCat(local->key.attempt)},
                                           {"alive", state.ok() && *state == launcher::GangState::kRunning ? "yes" : "no"}});
  if (never_started) {
    Start(local);
  } else {
    local->phase = Phase::kLive;
    if (!local->member) metrics_->RunBegan(LabelsOf(*launch), local->key.attempt);
  }
  local->told_up = local->delivery.ready;
  return local;
}

void Agent::Start(LocalAttempt* local) {
  if (local->member) {
    tasks_->Add(local->key.ToString(), [this, mailbox = mailbox_, key = local->key, launch = local->launch, folder = local->folder.root()] {
      std::optional<AttemptEnd> end = MakeAttemptFolder(launch, options_.self, *store_, folder);
      mailbox->Post([this, key, end = std::move(end)] { PartPrepared(key, end); });
    });
    return;
  }
  metrics_->RunBegan(LabelsOf(local->launch), local->key.attempt);
  tasks_->Add(local->key.ToString(), [this, mailbox = mailbox_, key = local->key, launch = local->launch, folder = local->folder.root()] {
    std::optional<AttemptEnd> end = MakeAndStart(launch, options_.self, *store_, folder, options_.launch, options_.tls);
    mailbox->Post([this, key, end = std::move(end)] { Started(key, end); });
  });
}

void Agent::Started(const AttemptKey& key, const std::optional<AttemptEnd>& end) {
  LocalAttempt* local = Find(key);
  if (local == nullptr || local->phase != Phase::kStarting) return;
  if (end) {
    Closed(key, *end);
  } else {
    local->phase = Phase::kLive;
  }
}

void Agent::Poll(LocalAttempt* local) {
  // Looked at before the events: once it is gone, what is read afterwards is everything.
  if (local->phase == Phase::kLive) {
    const absl::StatusOr<launcher::GangState> state = launcher::FindSupervisor(local->folder.root());
    if (!state.ok() || *state == launcher::GangState::kEnded) local->phase = Phase::kDraining;
  }
  const AttemptKey key = local->key;
  if (local->phase == Phase::kPrepared && Now() - local->prepared_boot_ms > kPreparedLimitMs) {
    DropPrepared(local, EndCause::kLaunch, "the gang's head did not start it");
    local = Find(key);
    if (local == nullptr) return;
  }
  PublishAgain(local);
  if (local->phase == Phase::kLive || local->phase == Phase::kDraining) ReadEvents(local);
  // What was read may have ended it.
  local = Find(key);
  if (local == nullptr) return;
  PauseIfSick(local);
  if (local->phase == Phase::kLive && local->stop) TrySendStop(local);
  SendStreams(local);
  if (local->phase == Phase::kEnded) TellDelivered(local);
}

void Agent::ReadEvents(LocalAttempt* local) {
  const AttemptKey key = local->key;
  const absl::StatusOr<std::vector<attempt::EventReader::Entry>> entries = local->events.ReadNew();
  if (!entries.ok() && local->damage.empty()) {
    local->damage = std::string(entries.status().message());
    Log(LogLevel::kError, "event stream damaged", {{"run", key.run.value()}, {"attempt", StrCat(key.attempt)}, {"reason", local->damage}});
    Do(worker::KillAttempt{key, "its event stream is damaged"});
  }
  if (entries.ok()) {
    for (const attempt::EventReader::Entry& entry : *entries) {
      if (Find(key) == nullptr) return;
      Handle(local, entry.event);
    }
  }
  local = Find(key);
  const bool at_end = !entries.ok() || entries->empty();
  if (local != nullptr && local->phase == Phase::kDraining && at_end && local->publishing == 0) Close(local);
}

void Agent::Handle(LocalAttempt* local, const attempt::AttemptEvent& event) {
  if (std::holds_alternative<attempt::GangReady>(event)) {
    if (local->told_up) return;
    local->told_up = true;
    On(worker::GangUp{local->key});
  } else if (const auto* sample = std::get_if<domain::EntropySample>(&event)) {
    metrics_->Observe(local->key.run.value(), *sample);
    Judge(local, *sample);
  } else if (const auto* evaluation = std::get_if<domain::Evaluation>(&event)) {
    metrics_->Observe(local->key.run.value(), *evaluation);
  } else if (const auto* checkpoint = std::get_if<attempt::CheckpointWritten>(&event)) {
    Publish(local, *checkpoint);
  }
}

void Agent::Judge(LocalAttempt* local, domain::EntropySample sample) {
  if (local->policy == nullptr) return;
  // As the coordinator's store rounds them, so that both judge the same.
  const std::int64_t context = local->launch.context();
  sample.entropy_nats = policy::DequantiseEntropy(policy::QuantiseEntropy(sample.entropy_nats, context), context);
  const std::optional<domain::Verdict> end = local->policy->Observe(local->key.attempt, sample);
  if (end) local->sick = end->explanation;
  for (const domain::Verdict& notice : local->policy->TakeNotices()) {
    if (local->sick.empty() && notice.action == domain::RuleAction::kPause) local->sick = notice.explanation;
  }
  if (!local->sick.empty()) local->policy.reset();
}

void Agent::PauseIfSick(LocalAttempt* local) {
  if (local->sick.empty() || local->phase != Phase::kLive || welcomed_ || Now() - away_since_boot_ms_ < kAwayPatienceMs) return;
  Log(LogLevel::kWarning, "paused while the coordinator is away", {{"run", local->key.run.value()}, {"attempt", StrCat(local->key.attempt)}, {"reason", local->sick}});
  local->stop = worker::SendStop{local->key, domain::StopMode::kCheckpoint, StrCat("the coordinator is away; ", local->sick)};
  local->sick.clear();
  metrics_->CountPause();
}

void Agent::Publish(LocalAttempt* local, const attempt::CheckpointWritten& checkpoint) {
  // Read a second time after a restart.
  if (local->published.contains(checkpoint.step)) return;
  ++local->publishing;
  StartPublishing(local, checkpoint);
}

void Agent::StartPublishing(LocalAttempt* local, const attempt::CheckpointWritten& checkpoint) {
  const std::string local_dir = local->folder.Path(checkpoint.folder);
  tasks_->Add(local->key.ToString() + " publish",
              [this, mailbox = mailbox_, key = local->key, journal = local->journal, checkpoint, local_dir] {
                absl::StatusOr<domain::Checkpoint> result = PublishWithRetries(store_, journal, key, checkpoint, local_dir);
                mailbox->Post([this, key, checkpoint, result = std::move(result)] { Published(key, checkpoint, result); });
              });
}

void Agent::PublishAgain(LocalAttempt* local) {
  if (local->to_publish_again.empty() || Now() < local->publish_again_boot_ms) return;
  for (const attempt::CheckpointWritten& checkpoint : std::exchange(local->to_publish_again, {})) StartPublishing(local, checkpoint);
}

void Agent::Published(const AttemptKey& key, const attempt::CheckpointWritten& checkpoint, const absl::StatusOr<domain::Checkpoint>& result) {
  LocalAttempt* local = Find(key);
  if (local == nullptr) return;
  const std::int64_t step = checkpoint.step;
  if (!result.ok() && IsOutOfReach(result.status())) {
    Log(LogLevel::kWarning, "checkpoint waits for the coordinator",
        {{"run", key.run.value()}, {"attempt", StrCat(key.attempt)}, {"step", std::to_string(step)}, {"reason", std::string(result.status().message())}});
    local->to_publish_again.push_back(checkpoint);
    local->publish_again_boot_ms = Now() + kPublishAgainMs;
    return;
  }
  --local->publishing;
  local->publish_error = result.ok() ? "" : StrCat("checkpoint of step ", step, " not published: ", std::string(result.status().message()));
  if (!result.ok()) {
    Log(LogLevel::kError, "publish failed", {{"run", key.run.value()}, {"attempt", StrCat(key.attempt)}, {"reason", local->publish_error}});
    return;
  }
  local->published.insert(step);
  Log(LogLevel::kInfo, "checkpoint", {{"run", key.run.value()}, {"attempt", StrCat(key.attempt)}, {"step", std::to_string(step)}});
  On(worker::CheckpointReady{key, *result});
}

void Agent::TrySendStop(LocalAttempt* local) {
  if (local->phase != Phase::kLive) return;
  if (local->member) return StopRanks(local);
  const absl::StatusOr<attempt::AttemptSpec> spec = local->folder.ReadSpec();
  if (!spec.ok()) return;
  // Nobody listens while the trainer is still loading: tried again at every tick.
  if (attempt::SendCommand(spec->control_socket, {local->stop->mode, local->stop->reason}).ok()) local->stop.reset();
}

void Agent::Close(LocalAttempt* local) {
  local->phase = Phase::kClosing;
  tasks_->Add(local->key.ToString(), [this, mailbox = mailbox_, key = local->key, folder = local->folder.root(), progress = local->events.progress()] {
    // A supervisor that was killed leaves its gang to the kernel; this makes sure.
    const absl::Status killed = launcher::KillGang(folder, 0);
    AttemptEnd end = CollectGangEnd(folder, progress);
    if (!killed.ok()) end.message = StrCat(std::string(killed.message()), "\n", end.message);
    mailbox->Post([this, key, end = std::move(end)] { Closed(key, end); });
  });
}

void Agent::Closed(const AttemptKey& key, AttemptEnd end) {
  LocalAttempt* local = Find(key);
  if (local == nullptr) return;
  if (end.cause == EndCause::kCrashed && !local->kill_reason.empty()) end.message = StrCat("killed: ", local->kill_reason);
  const bool trusted = end.cause == EndCause::kCompleted || end.cause == EndCause::kStopped || end.cause == EndCause::kCrashed;
  const std::string& problem = !local->damage.empty() ? local->damage : end.cause == EndCause::kCrashed ? local->damage : local->publish_error;
  if (trusted && !problem.empty()) {
    end.cause = EndCause::kStorage;
    end.message = problem;
  }
  Log(LogLevel::kInfo, "attempt ended", {{"run", key.run.value()}, {"attempt", StrCat(key.attempt)}, {"cause", std::string(domain::ToString(end.cause))},
                                         {"step", std::to_string(end.last_step)}, {"message", end.message}});
  local->phase = Phase::kEnded;
  local->ended_boot_ms = Now();
  local->stop.reset();
  local->end = end;
  if (!local->member) metrics_->RunEnded(key.run.value());
  AnswerEnd(local);
  On(worker::SupervisorEnded{key, end});
}

void Agent::TellDelivered(LocalAttempt* local) {
  if (local->told_delivered) return;
  if (local->member) {
    local->told_delivered = local->fenced || local->ended_by_head || Now() - local->ended_boot_ms > kHeadPatienceMs;
    if (local->told_delivered) On(worker::EventsDelivered{local->key});
    return;
  }
  const bool samples = local->fenced || local->events.Delivered();
  const bool log = local->fenced || local->log.Delivered() || Now() - local->ended_boot_ms > kLogPatienceMs;
  if (!samples || !log) return;
  local->told_delivered = true;
  On(worker::EventsDelivered{local->key});
}

}  // namespace entrain::agent
