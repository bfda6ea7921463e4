// One machine: the worker's real state machine in a daemon that crashes and comes back, attempt folders that outlive it, and the gangs
// that train meanwhile. Its clock may run slow or fast and jump ahead; no one else ever reads it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sim/network.h"
#include "sim/referee.h"
#include "sim/script.h"
#include "sim/stage.h"
#include "worker/core/worker_core.h"

namespace entrain::sim {

class Machine {
 public:
  Machine(Stage* stage, Network* network, Referee* referee, domain::WorkerInfo info);

  // The daemon begins, with what its folders say.
  void StartDaemon();
  // The daemon alone dies: supervisors and gangs go on.
  void CrashDaemon(std::int64_t down_ms);
  // Everything on the machine dies; its disk stays, but for the folders of which `loses` says so.
  void PowerOff(std::int64_t down_ms, const std::function<bool(const domain::AttemptKey&)>& loses);
  void Drain(bool draining, bool stop_attempts);
  // From now on its clock runs at this rate.
  void SetClockRate(double rate);
  void JumpClock(std::int64_t ms);
  // A rank on another machine is gone: gangs launched here that had one there end.
  void LosePartOn(const WorkerId& member);
  void LosePartOf(const domain::AttemptKey& key);
  // Called when this machine, not the head, was told to forget an attempt: its ranks here end.
  void OnPartForgotten(std::function<void(const domain::AttemptKey&)> told) { part_forgotten_ = std::move(told); }

  const WorkerId& id() const { return info_.id; }
  bool up() const { return core_.has_value(); }
  bool trains() const;
  // Nothing is left to be told or to be kept.
  bool idle() const { return up() && folders_.empty() && core_->unacknowledged_reports() == 0; }
  std::string Describe() const;

 private:
  enum class Gang { kPreparing, kStarting, kUp, kGone };
  // What lies on the disk and what runs: survives the daemon.
  struct Folder {
    domain::LaunchAttempt launch;
    RunScript script;
    Fate fate;
    Gang gang = Gang::kPreparing;
    std::int64_t step = 0;  // trained and written
    std::vector<std::int64_t> checkpoints;  // written by the gang
    std::vector<domain::Checkpoint> published;
    std::optional<domain::AttemptEnd> record;
    std::int64_t delivered_step = 0;
    bool noted_up = false;
    bool killed = false;  // tried, at least
    bool hangs = false;   // it neither trains nor listens any more
    // Of the present daemon.
    std::int64_t sent_step = 0;
    bool told_end = false;
    bool told_delivered = false;
    bool fenced = false;
  };

  std::int64_t LocalMs() const;
  void Loop(std::uint64_t life);
  // Only while this life of the daemon lasts.
  void Later(std::int64_t delay_ms, std::function<void()> action);
  Folder* Find(const domain::AttemptKey& key);

  void On(const worker::WorkerEvent& event);
  void Do(const worker::StartAttempt& action);
  void Do(const worker::SendStop& action);
  void Do(const worker::KillAttempt& action);
  void Do(const worker::SendReport& action);
  void Do(const worker::DropAttempt& action);

  // The daemon's side of its streams.
  void TickLink();
  void Connect();
  void LoseLink(bool tell);
  void Receive(const ConnectionPtr& connection, const ToWorker& message);
  void TakeAck(const SampleAck& ack);

  // What the daemon reads in the folders.
  void Look(const domain::AttemptKey& key);
  void SendSamples(Folder* folder);

  // The gang.
  void BeginGang(const domain::AttemptKey& key);
  void ComeUp(const domain::AttemptKey& key);
  void Train(const domain::AttemptKey& key);
  void EndGang(Folder* folder, domain::EndCause cause, const std::string& message);

  Stage* const stage_;
  Network* const network_;
  Referee* const referee_;
  const domain::WorkerInfo info_;
  std::function<void(const domain::AttemptKey&)> part_forgotten_;

  std::map<domain::AttemptKey, Folder> folders_;
  std::uint64_t incarnation_ = 0;
  std::uint64_t report_bound_ = 1;

  double clock_rate_ = 1.0;
  double local_base_ms_ = 0;
  std::int64_t base_at_ms_ = 0;

  std::uint64_t life_ = 0;
  std::uint64_t power_ = 0;  // grows when all that ran here is gone
  std::optional<worker::WorkerCore> core_;
  ConnectionPtr link_;
  bool welcomed_ = false;
  std::int64_t heard_local_ms_ = 0;
  std::int64_t connect_at_local_ms_ = 0;
  std::int64_t heartbeat_at_local_ms_ = 0;
  std::int64_t heartbeat_ms_ = 1'000;
};

}  // namespace entrain::sim
