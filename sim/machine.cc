#include "sim/machine.h"

#include <algorithm>
#include <utility>

namespace entrain::sim {
namespace {

using domain::AttemptEnd;
using domain::AttemptKey;
using domain::EndCause;

constexpr std::int64_t kLoopMs = 300;
constexpr std::int64_t kSilenceLimitMs = 10'000;
// Reports that a daemon may give out before it notes a new bound on its disk.
constexpr std::uint64_t kReportBlock = 1'000;

worker::WorkerCoreConfig Limits() {
  worker::WorkerCoreConfig config;
  config.isolation_limit_ms = 60'000;
  config.checkpoint_grace_ms = 8'000;
  config.now_grace_ms = 3'000;
  config.kill_again_ms = 4'000;
  return config;
}

}  // namespace

Machine::Machine(Stage* stage, Network* network, Referee* referee, domain::WorkerInfo info)
    : stage_(stage), network_(network), referee_(referee), info_(std::move(info)) {
  network_->RouteWorker(info_.id, [this](const ConnectionPtr& connection, const ToWorker& message) { Receive(connection, message); });
}

std::int64_t Machine::LocalMs() const {
  return static_cast<std::int64_t>(local_base_ms_ + clock_rate_ * static_cast<double>(stage_->now_ms() - base_at_ms_));
}

void Machine::SetClockRate(double rate) {
  local_base_ms_ = static_cast<double>(LocalMs());
  base_at_ms_ = stage_->now_ms();
  clock_rate_ = rate;
}

void Machine::JumpClock(std::int64_t ms) { local_base_ms_ += static_cast<double>(ms); }

void Machine::Later(std::int64_t delay_ms, std::function<void()> action) {
  stage_->timeline().After(delay_ms, [this, life = life_, action = std::move(action)] {
    if (up() && life == life_) action();
  });
}

Machine::Folder* Machine::Find(const AttemptKey& key) {
  const auto found = folders_.find(key);
  return found == folders_.end() ? nullptr : &found->second;
}

void Machine::StartDaemon() {
  ++life_;
  stage_->Note(info_.id.value(), ": daemon begins");
  core_.emplace(info_.id, report_bound_, Limits());
  report_bound_ += kReportBlock;
  welcomed_ = false;
  link_ = nullptr;
  connect_at_local_ms_ = LocalMs();
  // A launch that did not get as far as a process may have left nothing readable; the coordinator sends it again.
  std::erase_if(folders_, [this](const auto& entry) { return entry.second.gang == Gang::kPreparing && stage_->rng().Below(2) == 0; });
  worker::Restored restored;
  for (auto& [key, folder] : folders_) {
    folder.sent_step = folder.delivered_step;
    folder.told_end = folder.told_delivered = folder.fenced = false;
    // Sometimes it finds the end at once, sometimes a moment later.
    const bool knows_end = folder.record.has_value() && folder.published.size() == folder.checkpoints.size() && stage_->rng().Below(2) == 0;
    folder.told_end = knows_end;
    restored.attempts.push_back(
        {.key = key, .started = folder.noted_up, .end = knows_end ? folder.record : std::nullopt, .published = folder.published});
    if (folder.gang == Gang::kPreparing) Later(stage_->Between(50, 500), [this, k = key] { BeginGang(k); });
  }
  On(restored);
  Loop(life_);
}

void Machine::CrashDaemon(std::int64_t down_ms) {
  if (!up()) return;
  stage_->Note(info_.id.value(), ": daemon dies");
  if (link_ != nullptr) network_->Up(link_, Goodbye{});
  link_ = nullptr;
  core_.reset();
  stage_->timeline().After(down_ms, [this, power = power_] {
    if (!up() && power == power_) StartDaemon();
  });
}

void Machine::PowerOff(std::int64_t down_ms, const std::function<bool(const AttemptKey&)>& loses) {
  stage_->Note(info_.id.value(), ": power lost");
  ++power_;
  core_.reset();
  link_ = nullptr;
  for (auto& [key, folder] : folders_) {
    if (folder.gang == Gang::kStarting || folder.gang == Gang::kUp) EndGang(&folder, EndCause::kCrashed, "no record of its end");
  }
  std::erase_if(folders_, [&](const auto& entry) { return loses(entry.first); });
  stage_->timeline().After(down_ms, [this, power = power_] {
    if (!up() && power == power_) StartDaemon();
  });
}

void Machine::Drain(bool draining, bool stop_attempts) {
  if (!up()) return;
  stage_->Note(info_.id.value(), draining ? ": drains" : ": drains no more");
  On(worker::DrainAsked{draining, stop_attempts, "asked to drain"});
}

void Machine::Loop(std::uint64_t life) {
  On(worker::Ticked{});
  std::vector<AttemptKey> keys;
  for (const auto& [key, folder] : folders_) keys.push_back(key);
  for (const AttemptKey& key : keys) Look(key);
  TickLink();
  stage_->timeline().After(kLoopMs, [this, life] {
    if (up() && life == life_) Loop(life);
  });
}

void Machine::On(const worker::WorkerEvent& event) {
  ++stage_->worker_events;
  for (const worker::WorkerAction& action : core_->On(event, LocalMs())) {
    std::visit([this](const auto& what) { Do(what); }, action);
  }
  if (core_->next_report() > report_bound_) report_bound_ += kReportBlock;
}

void Machine::Do(const worker::StartAttempt& action) {
  const AttemptKey& key = action.launch.key;
  if (folders_.contains(key)) return stage_->Break(info_.id.value(), " starts attempt ", key.ToString(), ", whose folder is there already");
  Folder& folder = folders_[key];
  folder.launch = action.launch;
  folder.script = ScriptOf(stage_->seed(), *action.launch.spec);
  folder.fate = FateOf(stage_->seed(), key, *action.launch.spec, stage_->weather().fail_attempt_per_mille);
  const bool bad = stage_->weather().bad_machine == info_.id && action.launch.gang.members.size() == 1;
  if (bad && stage_->rng().Below(4) > 0) {
    const bool comes_up = stage_->rng().Below(2) == 0;
    folder.fate.cause = comes_up ? EndCause::kDevice : EndCause::kLaunch;
    folder.fate.at_step = comes_up ? action.launch.resume_from.step + 1 : 0;
  }
  folder.step = folder.delivered_step = folder.sent_step = action.launch.resume_from.step;
  stage_->Note(info_.id.value(), ": starts ", key.ToString(), " from step ", folder.step);
  Later(stage_->Between(50, 500), [this, key] { BeginGang(key); });
}

void Machine::Do(const worker::SendStop& action) {
  Folder* folder = Find(action.key);
  if (folder == nullptr || folder->gang != Gang::kUp) return;
  if (folder->fate.freezes) folder->hangs = true;
  stage_->timeline().After(stage_->Between(50, 1'500), [this, key = action.key, mode = action.mode, power = power_] {
    Folder* f = Find(key);
    if (f == nullptr || power != power_ || f->gang != Gang::kUp || f->hangs) return;
    if (mode == domain::StopMode::kCheckpoint && (f->checkpoints.empty() || f->checkpoints.back() < f->step)) f->checkpoints.push_back(f->step);
    EndGang(f, EndCause::kStopped, "");
  });
}

void Machine::Do(const worker::KillAttempt& action) {
  stage_->Note(info_.id.value(), ": kills ", action.key.ToString(), " (", action.reason, ")");
  if (Folder* folder = Find(action.key)) folder->killed = true;
  // A process in the kernel's hands goes later; the kill is repeated.
  if (stage_->faults() && stage_->rng().Below(4) == 0) return;
  stage_->timeline().After(stage_->Between(1, 300), [this, key = action.key, power = power_] {
    Folder* f = Find(key);
    if (f == nullptr || power != power_ || f->gang == Gang::kGone) return;
    EndGang(f, f->gang == Gang::kPreparing ? EndCause::kLaunch : EndCause::kCrashed, "killed");
  });
}

void Machine::Do(const worker::SendReport& action) {
  if (!welcomed_) return;
  network_->Up(link_, action.report);
}

void Machine::Do(const worker::DropAttempt& action) {
  const Folder* folder = Find(action.key);
  if (folder == nullptr) return stage_->Break(info_.id.value(), " drops ", action.key.ToString(), ", which it does not have");
  if (folder->gang != Gang::kGone) return stage_->Break(info_.id.value(), " drops the folder of ", action.key.ToString(), ", whose processes live");
  folders_.erase(action.key);
}

void Machine::TickLink() {
  const std::int64_t now_ms = LocalMs();
  if (link_ == nullptr) {
    if (now_ms >= connect_at_local_ms_) Connect();
  } else if (now_ms - heard_local_ms_ > kSilenceLimitMs) {
    LoseLink(true);
  } else if (welcomed_ && now_ms >= heartbeat_at_local_ms_) {
    heartbeat_at_local_ms_ = now_ms + heartbeat_ms_;
    network_->Up(link_, domain::WorkerHeartbeat{info_.id, core_->draining()});
  }
}

void Machine::Connect() {
  link_ = std::make_shared<Connection>();
  link_->worker = info_.id;
  link_->incarnation = ++incarnation_;
  link_->last_up_ms = link_->last_down_ms = stage_->now_ms();
  heard_local_ms_ = LocalMs();
  welcomed_ = false;
  domain::WorkerJoined joined;
  joined.info = info_;
  joined.incarnation = link_->incarnation;
  joined.live_attempts = core_->HelloAttempts();
  network_->Up(link_, joined);
}

void Machine::LoseLink(bool tell) {
  if (tell) network_->Up(link_, Goodbye{});
  link_ = nullptr;
  connect_at_local_ms_ = LocalMs() + stage_->Between(50, 2'000);
  if (std::exchange(welcomed_, false)) On(worker::Disconnected{});
}

void Machine::Receive(const ConnectionPtr& connection, const ToWorker& message) {
  if (!up() || connection != link_) return;
  heard_local_ms_ = LocalMs();
  if (const auto* welcome = std::get_if<Welcome>(&message)) {
    welcomed_ = true;
    heartbeat_ms_ = welcome->heartbeat_ms;
    heartbeat_at_local_ms_ = LocalMs();
    for (auto& [key, folder] : folders_) folder.sent_step = folder.delivered_step;
    On(worker::Connected{});
    On(worker::LeaseRenewed{welcome->lease_ms});
  } else if (const auto* lease = std::get_if<LeaseTerm>(&message)) {
    On(worker::LeaseRenewed{lease->lease_ms});
  } else if (const auto* launch = std::get_if<domain::LaunchAttempt>(&message)) {
    On(worker::Launched{*launch});
  } else if (const auto* stop = std::get_if<domain::StopAttempt>(&message)) {
    On(worker::StopAsked{*stop});
  } else if (const auto* forget = std::get_if<domain::ForgetAttempt>(&message)) {
    if (!folders_.contains(forget->key)) part_forgotten_(forget->key);
    On(worker::ForgetAsked{forget->key});
    const Folder* folder = Find(forget->key);
    if (folder != nullptr && folder->gang != Gang::kGone && !folder->killed) {
      stage_->Break(info_.id.value(), " heard that ", forget->key.ToString(), " is replaced, and lets it live");
    }
  } else if (const auto* acknowledged = std::get_if<domain::AcknowledgeReport>(&message)) {
    On(worker::ReportAcknowledged{acknowledged->report});
  } else if (const auto* ack = std::get_if<SampleAck>(&message)) {
    TakeAck(*ack);
  } else {
    LoseLink(false);
  }
}

void Machine::TakeAck(const SampleAck& ack) {
  Folder* folder = Find(ack.key);
  if (folder == nullptr) return;
  if (ack.fenced) {
    folder->fenced = true;
    return On(worker::SamplesFenced{ack.key});
  }
  folder->delivered_step = std::max(folder->delivered_step, ack.through_step);
}

void Machine::Look(const AttemptKey& key) {
  Folder* folder = Find(key);
  if (folder == nullptr) return;
  if (folder->gang != Gang::kPreparing && folder->gang != Gang::kStarting && !folder->noted_up && folder->step > folder->launch.resume_from.step) {
    folder->noted_up = true;
  }
  if (folder->gang == Gang::kUp && !folder->noted_up) folder->noted_up = true;
  if (folder->noted_up && !folder->told_end) On(worker::GangUp{key});
  folder = Find(key);
  if (folder == nullptr) return;
  while (folder->published.size() < folder->checkpoints.size()) {
    const std::int64_t step = folder->checkpoints[folder->published.size()];
    folder->published.push_back({key.attempt, step, StrCat(key.ToString(), "/step-", step), 1, "h"});
    On(worker::CheckpointReady{key, folder->published.back()});
    folder = Find(key);
    if (folder == nullptr) return;
  }
  SendSamples(folder);
  if (folder->gang == Gang::kGone && !folder->told_end) {
    folder->told_end = true;
    On(worker::SupervisorEnded{key, *folder->record});
    folder = Find(key);
    if (folder == nullptr) return;
  }
  if (folder->told_end && !folder->told_delivered && (folder->fenced || folder->delivered_step >= folder->step)) {
    folder->told_delivered = true;
    On(worker::EventsDelivered{key});
  }
}

void Machine::SendSamples(Folder* folder) {
  if (!welcomed_ || folder->fenced || folder->sent_step >= folder->step) return;
  SampleBatch batch;
  batch.key = folder->launch.key;
  const std::int64_t through = std::min(folder->step, folder->sent_step + 16);
  for (std::int64_t step = folder->sent_step + 1; step <= through; ++step) {
    batch.samples.push_back(SampleOf(folder->script, *folder->launch.spec, batch.key.attempt, step));
  }
  folder->sent_step = through;
  network_->Up(link_, std::move(batch));
}

std::string Machine::Describe() const {
  std::string text = StrCat(info_.id.value(), up() ? welcomed_ ? " (connected)" : " (away)" : " (down)");
  for (const auto& [key, folder] : folders_) StrAppend(&text, " ", key.ToString(), folder.gang == Gang::kGone ? " ended" : " lives");
  if (up()) StrAppend(&text, " unacknowledged=", core_->unacknowledged_reports());
  return text;
}

}  // namespace entrain::sim
