// The daemon's side of its connection to the coordinator.
#include <algorithm>

#include "base/log.h"
#include "base/strings.h"
#include "proto/convert.h"
#include "worker/agent/agent.h"
#include "worker/agent/launch_plan.h"

namespace entrain::agent {
namespace {

constexpr std::int64_t kFirstBackOffMs = 100;
constexpr std::int64_t kMaxBackOffMs = 5'000;
constexpr std::int64_t kWelcomeLimitMs = 10'000;
constexpr std::uint32_t kProtocolVersion = wire::kNewestProtocol;

// The run's id names a folder here.
bool IsPlainName(const std::string& id) {
  return !id.empty() && id.front() != '.' && std::all_of(id.begin(), id.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
  });
}

}  // namespace

void Agent::TickLink() {
  const std::int64_t now = Now();
  if (!link_) {
    if (now >= connect_at_boot_ms_) Connect();
    return;
  }
  const std::int64_t silence_limit_ms = welcomed_ ? std::max<std::int64_t>(kWelcomeLimitMs, 4 * heartbeat_interval_ms_) : kWelcomeLimitMs;
  if (now - heard_boot_ms_ > silence_limit_ms) {
    LoseLink(StrCat("nothing heard from the coordinator for ", now - heard_boot_ms_, " ms"));
  } else if (welcomed_ && now >= next_heartbeat_boot_ms_) {
    SendHeartbeat();
  }
}

void Agent::Connect() {
  const std::string& address = options_.coordinators[next_address_];
  next_address_ = (next_address_ + 1) % options_.coordinators.size();
  heard_boot_ms_ = Now();
  ++generation_;
  welcomed_ = false;
  std::shared_ptr<grpc::Channel>& channel = channels_[address];
  if (!channel) {
    absl::StatusOr<std::shared_ptr<grpc::Channel>> made = MakeChannel(address, options_.tls);
    if (!made.ok()) return LoseLink(std::string(made.status().message()));
    channel = *std::move(made);
  }
  v1::Hello hello = wire::ToWire(options_.self);
  hello.set_protocol_version(kProtocolVersion);
  hello.set_incarnation(generation_);
  hello.set_peer_address(peer_address_);
  for (const domain::AttemptKey& key : core_.HelloAttempts()) *hello.add_live_attempts() = wire::ToWire(key);
  // Every handler hands its message to the loop, which takes those of the newest link only.
  const auto post = [this, mailbox = mailbox_, generation = generation_](auto handle) {
    mailbox->Post([this, generation, handle = std::move(handle)] {
      if (link_ && generation == generation_) handle();
    });
  };
  LinkHandlers handlers;
  handlers.on_control = [this, post](const v1::CoordinatorMessage& message) { post([this, message] { OnControl(message); }); };
  handlers.on_sample_ack = [this, post](const v1::SampleAck& ack) { post([this, ack] { OnSampleAck(ack); }); };
  handlers.on_log_ack = [this, post](const v1::LogAck& ack) { post([this, ack] { OnLogAck(ack); }); };
  handlers.on_closed = [this, post, address](const std::string& reason) { post([this, address, reason] { LoseLink(StrCat(address, ": ", reason)); }); };
  link_ = std::make_unique<CoordinatorLink>(channel, stream_token_, std::move(hello), std::move(handlers));
}

void Agent::LoseLink(const std::string& reason) {
  const bool was_welcomed = welcomed_;
  if (was_welcomed) away_since_boot_ms_ = Now();
  link_.reset();
  welcomed_ = false;
  ++generation_;
  back_off_ms_ = std::clamp(2 * back_off_ms_, kFirstBackOffMs, kMaxBackOffMs);
  connect_at_boot_ms_ = Now() + back_off_ms_ / 2 + static_cast<std::int64_t>(jitter_.Below(static_cast<std::uint64_t>(back_off_ms_ / 2 + 1)));
  metrics_->SetCoordinatorConnected(false);
  // Said once, not at every try.
  if (was_welcomed || reason != last_link_problem_) Log(LogLevel::kWarning, "no coordinator", {{"reason", reason}});
  last_link_problem_ = reason;
  if (was_welcomed) On(worker::Disconnected{});
}

void Agent::OnControl(const v1::CoordinatorMessage& message) {
  heard_boot_ms_ = Now();
  switch (message.body_case()) {
    case v1::CoordinatorMessage::kWelcome: return OnWelcome(message.welcome());
    case v1::CoordinatorMessage::kLease: return On(worker::LeaseRenewed{message.lease().lease_ms()});
    case v1::CoordinatorMessage::kLaunch: return OnLaunch(message.launch());
    case v1::CoordinatorMessage::kStop: {
      domain::StopAttempt stop;
      stop.worker = options_.self.id;
      stop.key = {RunId(message.stop().key().run_id()), message.stop().key().attempt()};
      stop.mode = message.stop().checkpoint() ? domain::StopMode::kCheckpoint : domain::StopMode::kNow;
      stop.reason = message.stop().reason();
      return On(worker::StopAsked{stop});
    }
    case v1::CoordinatorMessage::kForget:
      return On(worker::ForgetAsked{{RunId(message.forget().key().run_id()), message.forget().key().attempt()}});
    case v1::CoordinatorMessage::kAcknowledged: return On(worker::ReportAcknowledged{message.acknowledged().report()});
    case v1::CoordinatorMessage::BODY_NOT_SET: return;  // from a newer coordinator
  }
}

void Agent::OnWelcome(const v1::Welcome& welcome) {
  if (welcomed_) return;
  if (welcome.protocol_version() < wire::kOldestProtocol || welcome.protocol_version() > wire::kNewestProtocol) {
    return LoseLink(StrCat("the coordinator speaks protocol ", welcome.protocol_version(), ", this worker ", wire::kOldestProtocol, " to ", wire::kNewestProtocol));
  }
  welcomed_ = true;
  back_off_ms_ = 0;
  last_link_problem_.clear();
  heartbeat_interval_ms_ = std::clamp<std::int64_t>(welcome.heartbeat_interval_ms(), 50, 60'000);
  if (peer_server_) peer_server_->keys().Add(welcome.peer_key());
  metrics_->SetCoordinatorConnected(true);
  Log(LogLevel::kInfo, "connected", {{"lease_ms", std::to_string(welcome.lease_ms())}, {"attempts", std::to_string(attempts_.size())}});
  link_->OpenDataStreams();
  for (auto& [key, local] : attempts_) {
    local->events.Rewind();
    local->log.Rewind();
  }
  On(worker::Connected{});
  On(worker::LeaseRenewed{welcome.lease_ms()});
  SendHeartbeat();
}

void Agent::OnLaunch(const v1::Launch& launch) {
  const absl::StatusOr<domain::LaunchAttempt> decoded = LaunchFromWire(launch, options_.self.id);
  if (!decoded.ok() || !IsPlainName(launch.key().run_id())) {
    Log(LogLevel::kError, "launch ignored", {{"reason", decoded.ok() ? StrCat("run id \"", launch.key().run_id(), "\" is no plain name")
                                                                     : std::string(decoded.status().message())}});
    return;
  }
  launches_[decoded->key] = launch;
  On(worker::Launched{*decoded});
  launches_.erase(decoded->key);
}

void Agent::OnSampleAck(const v1::SampleAck& ack) {
  const domain::AttemptKey key{RunId(ack.key().run_id()), ack.key().attempt()};
  LocalAttempt* local = Find(key);
  if (local == nullptr) return;
  if (ack.fenced()) {
    local->fenced = true;
    return On(worker::SamplesFenced{key});
  }
  metrics_->CountEventsSent(local->events.Acknowledge(ack.last_offset()));
  const std::uint64_t log_offset = local->delivery.log_offset;
  local->delivery = local->events.acknowledged();
  local->delivery.log_offset = log_offset;
  if (const absl::Status kept = local->journal.WriteDelivery(local->delivery); !kept.ok()) {
    Log(LogLevel::kWarning, "delivery not noted", {{"run", key.run.value()}, {"attempt", StrCat(key.attempt)}, {"reason", std::string(kept.message())}});
  }
}

void Agent::OnLogAck(const v1::LogAck& ack) {
  LocalAttempt* local = Find({RunId(ack.key().run_id()), ack.key().attempt()});
  if (local == nullptr) return;
  local->log.Acknowledge(ack.last_offset());
  local->delivery.log_offset = local->log.acknowledged_offset();
  local->journal.WriteDelivery(local->delivery).IgnoreError();
}

void Agent::SendHeartbeat() {
  if (!link_ || !welcomed_) return;
  next_heartbeat_boot_ms_ = Now() + heartbeat_interval_ms_;
  v1::WorkerMessage message;
  message.mutable_heartbeat()->set_draining(core_.draining());
  if (!link_->SendControl(std::move(message))) LoseLink("the control queue is full");
}

void Agent::SendStreams(LocalAttempt* local) {
  // The head has the gang's events, and its log has the lines of all ranks.
  if (!link_ || !welcomed_ || local->fenced || local->member) return;
  while (const v1::SampleBatch* batch = local->events.NextBatch()) {
    if (!link_->SendSamples(*batch)) break;  // its queue is full; the files wait
    local->events.BatchSent();
  }
  const v1::LogChunk* chunk = local->log.NextChunk(local->phase == Phase::kEnded);
  if (const std::int64_t dropped = local->log.TakeDropped(); dropped > 0) metrics_->CountDroppedLogLines(dropped);
  if (chunk != nullptr && link_->SendLogs(*chunk)) local->log.ChunkSent();
}

}  // namespace entrain::agent
