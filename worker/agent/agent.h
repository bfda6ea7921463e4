// The worker daemon's loop: it carries out what the state machine decides, and tells it what happens on this machine.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "artifacts/artifact_store.h"
#include "base/clock.h"
#include "base/random.h"
#include "metrics/worker_metrics.h"
#include "worker/agent/coordinator_link.h"
#include "worker/agent/keyed_tasks.h"
#include "worker/agent/local_attempt.h"
#include "worker/agent/mailbox.h"
#include "worker/agent/peer_service.h"
#include "worker/core/worker_core.h"
#include "worker/launcher/launcher.h"

namespace entrain::agent {

struct AgentOptions {
  std::vector<std::string> coordinators;  // HOST:PORT, tried in turn
  std::string dir;                        // absolute
  transport::TlsFiles tls;
  domain::WorkerInfo self;
  launcher::LaunchOptions launch;
  worker::WorkerCoreConfig core;
  std::uint64_t first_number = 1;  // of reports and connections
  std::int64_t drain_limit_ms = 60'000;
  std::string peer_listen;   // HOST:PORT of the peer service; empty: none
  std::string peer_address;  // HOST or HOST:PORT under which other workers reach it; empty: peer_listen's
};

class Agent {
 public:
  // The store, the metrics and the clock outlive the agent.
  Agent(AgentOptions options, artifacts::ArtifactStore* store, metrics::WorkerMetrics* metrics, const Clock* clock);
  ~Agent();

  // Before Run: serves other workers, where the options say so.
  absl::Status ListenToPeers();
  // Runs until drained: true when every attempt ended and everything was acknowledged within the limit.
  bool Run();
  // Thread-safe. Every gang stops at a checkpoint, all is reported, Run returns.
  void Drain(const std::string& reason);

 private:
  using Phase = LocalAttempt::Phase;

  // --- loop (agent.cc) ---
  void Restore();
  void Tick();
  void On(const worker::WorkerEvent& event);
  void Do(const worker::StartAttempt& action);
  void Do(const worker::SendStop& action);
  void Do(const worker::KillAttempt& action);
  void Do(const worker::SendReport& action);
  void Do(const worker::DropAttempt& action);
  void SetMachineMetrics();
  bool Drained() const;

  // --- one attempt (agent_attempts.cc) ---
  LocalAttempt* Find(const domain::AttemptKey& key);
  std::string FolderOf(const domain::AttemptKey& key) const;
  // What an earlier daemon left in `folder`; null when the launch was not complete and the folder is deleted.
  LocalAttempt* Adopt(const std::string& folder);
  void Start(LocalAttempt* local);
  void Started(const domain::AttemptKey& key, const std::optional<domain::AttemptEnd>& end);
  void Poll(LocalAttempt* local);
  void ReadEvents(LocalAttempt* local);
  void Handle(LocalAttempt* local, const attempt::AttemptEvent& event);
  // The run's own rules on its own events; what they say counts only while the coordinator is away, and only pauses.
  void Judge(LocalAttempt* local, domain::EntropySample sample);
  void PauseIfSick(LocalAttempt* local);
  void Publish(LocalAttempt* local, const attempt::CheckpointWritten& checkpoint);
  void StartPublishing(LocalAttempt* local, const attempt::CheckpointWritten& checkpoint);
  void PublishAgain(LocalAttempt* local);
  void Published(const domain::AttemptKey& key, const attempt::CheckpointWritten& checkpoint, const absl::StatusOr<domain::Checkpoint>& result);
  void TrySendStop(LocalAttempt* local);
  void Close(LocalAttempt* local);
  void Closed(const domain::AttemptKey& key, domain::AttemptEnd end);
  void TellDelivered(LocalAttempt* local);

  // --- gangs over several machines (agent_peers.cc) ---
  PeerHandlers MakePeerHandlers();
  // The head asks for this machine's part. Answered once it is ready, or why it is not.
  void PreparePart(const v1::Launch& launch, PeerAnswer<v1::PrepareResponse> answer);
  void PartPrepared(const domain::AttemptKey& key, const std::optional<domain::AttemptEnd>& end);
  void StartPart(const domain::AttemptKey& key, const launcher::OrtedParameters& parameters, PeerAnswer<v1::StartDaemonResponse> answer);
  void EndPart(const domain::AttemptKey& key, PeerAnswer<v1::EndResponse> answer);
  // A prepared part that nobody started, or that is to go: it has no process yet.
  void DropPrepared(LocalAttempt* local, domain::EndCause cause, const std::string& why);
  void AnswerEnd(LocalAttempt* local);
  void StopRanks(LocalAttempt* local);
  bool MayStartFor(const v1::Launch& launch, absl::Status* why_not) const;

  // --- coordinator (agent_link.cc) ---
  void TickLink();
  void Connect();
  void LoseLink(const std::string& reason);
  void OnControl(const v1::CoordinatorMessage& message);
  void OnWelcome(const v1::Welcome& welcome);
  void OnLaunch(const v1::Launch& launch);
  void OnSampleAck(const v1::SampleAck& ack);
  void OnLogAck(const v1::LogAck& ack);
  void SendHeartbeat();
  void SendStreams(LocalAttempt* local);

  std::int64_t Now() const { return clock_->BootMs(); }

  const AgentOptions options_;
  artifacts::ArtifactStore* const store_;
  metrics::WorkerMetrics* const metrics_;
  const Clock* const clock_;
  // Shared with gRPC's and the tasks' threads, which may post once more while this object goes.
  const std::shared_ptr<Mailbox> mailbox_ = std::make_shared<Mailbox>();
  worker::WorkerCore core_;
  std::map<domain::AttemptKey, std::unique_ptr<LocalAttempt>> attempts_;
  std::map<domain::AttemptKey, v1::Launch> launches_;  // given to the state machine, not yet started
  std::int64_t drain_deadline_boot_ms_ = -1;
  std::int64_t next_renewal_boot_ms_ = 0;
  std::int64_t next_metrics_boot_ms_ = 0;

  std::map<std::string, std::shared_ptr<grpc::Channel>> channels_;  // by address
  const StreamToken stream_token_ = std::make_shared<const int>(0);
  std::unique_ptr<CoordinatorLink> link_;
  std::uint64_t generation_ = 0;  // of the link; what older ones say is ignored
  bool welcomed_ = false;
  std::int64_t away_since_boot_ms_ = 0;  // while it is not welcomed
  Rng jitter_;
  std::size_t next_address_ = 0;
  std::int64_t back_off_ms_ = 0;
  std::int64_t connect_at_boot_ms_ = 0;
  std::int64_t heard_boot_ms_ = 0;
  std::int64_t next_heartbeat_boot_ms_ = 0;
  std::int64_t heartbeat_interval_ms_ = 5'000;
  std::string last_link_problem_;

  std::string peer_address_;  // told to the coordinator; empty: no peer service
  // Last: tasks and calls end before the rest goes.
  std::unique_ptr<KeyedTasks> tasks_;
  std::unique_ptr<PeerServer> peer_server_;
};

}  // namespace entrain::agent
