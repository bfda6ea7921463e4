// The worker's state machine: which attempts live here, what must be told to the coordinator, when an attempt ends and when its folder
// may go. Pure and single-threaded: events in, actions out, the time is an argument. The daemon carries actions out, in order; the
// simulator runs the same class.
//
// Agreement with the coordinator:
// - Reports carry numbers that grow over the worker's whole life; each is sent again after every reconnect, in order, until it is
//   acknowledged. The coordinator takes a report any number of times.
// - Hello lists HelloAttempts(): attempts that live here and those whose reports are not all acknowledged.
// - Commands of an older connection are dropped by the caller. A command given twice does nothing the second time.
// - A lost lease ends nothing (leases fence, they do not kill): an attempt ends by itself, by a stop, when it learns that it was
//   replaced, or after isolation_limit_ms without its coordinator.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "domain/effect.h"
#include "domain/event.h"
#include "domain/fleet.h"
#include "domain/sample.h"

namespace entrain::worker {

struct WorkerCoreConfig {
  // How long gangs train on without the coordinator before they are stopped at a checkpoint.
  std::int64_t isolation_limit_ms = 24LL * 60 * 60 * 1000;
  // From a stop with a checkpoint to the kill; and from a stop without one.
  std::int64_t checkpoint_grace_ms = 120'000;
  std::int64_t now_grace_ms = 10'000;
  // Between two kills of an attempt that does not go.
  std::int64_t kill_again_ms = 10'000;
};

// --- Events ---

// First event of a restarted daemon: what its attempt folders say. Every attempt found is reported anew.
struct RestoredAttempt {
  domain::AttemptKey key;
  bool started = false;                  // its gang was up
  bool member = false;                   // a part whose head is another worker
  std::optional<domain::AttemptEnd> end;  // empty: its supervisor lives
  std::vector<domain::Checkpoint> published;
};
struct Restored {
  std::vector<RestoredAttempt> attempts;
};

// The control stream is open and Hello is sent. Answered with every unacknowledged report.
struct Connected {};
struct Disconnected {};
struct LeaseRenewed {
  std::int64_t lease_ms = 0;
};

// Commands of the coordinator. A launch whose gang another worker heads is that worker's request for this machine's part: it starts
// nothing that GangUp would follow, and a stop reaches its ranks at any time.
struct Launched {
  domain::LaunchAttempt launch;
};
struct StopAsked {
  domain::StopAttempt stop;
};
struct ForgetAsked {
  domain::AttemptKey key;
};
struct ReportAcknowledged {
  std::uint64_t report = 0;
};
// The sample lane refused the attempt's samples for good: it was replaced.
struct SamplesFenced {
  domain::AttemptKey key;
};

// From the attempt's folder and supervisor.
struct GangUp {
  domain::AttemptKey key;
};
struct CheckpointReady {  // published: it would survive the loss of what it must survive
  domain::AttemptKey key;
  domain::Checkpoint checkpoint;
};
// The supervisor and all it started are gone, or the attempt could not be started at all (cause kLaunch, kStorage, kUserError).
struct SupervisorEnded {
  domain::AttemptKey key;
  domain::AttemptEnd end;
};
// Every sample and log line that the ended attempt wrote is acknowledged or will never be.
struct EventsDelivered {
  domain::AttemptKey key;
};

// The daemon is to end or was told to drain: heartbeats say so, and with `stop_attempts` every gang is stopped at a checkpoint.
struct DrainAsked {
  bool draining = true;
  bool stop_attempts = false;
  std::string reason;
};
struct Ticked {};

using WorkerEvent = std::variant<Restored, Connected, Disconnected, LeaseRenewed, Launched, StopAsked, ForgetAsked, ReportAcknowledged,
                                 SamplesFenced, GangUp, CheckpointReady, SupervisorEnded, EventsDelivered, DrainAsked, Ticked>;

// --- Actions ---

struct StartAttempt {
  domain::LaunchAttempt launch;
};
// Over the attempt's control socket.
struct SendStop {
  domain::AttemptKey key;
  domain::StopMode mode = domain::StopMode::kCheckpoint;
  std::string reason;
};
// By cgroup or session, at once. SupervisorEnded follows.
struct KillAttempt {
  domain::AttemptKey key;
  std::string reason;
};
// Number and worker are set. Dropped silently while not connected: it is sent again after Connected.
using Report = std::variant<domain::AttemptStarted, domain::CheckpointPublished, domain::AttemptEnded>;
struct SendReport {
  Report report;
};
// Nobody needs the folder any more.
struct DropAttempt {
  domain::AttemptKey key;
};

using WorkerAction = std::variant<StartAttempt, SendStop, KillAttempt, SendReport, DropAttempt>;

const domain::AttemptKey& KeyOf(const Report& report);
std::uint64_t NumberOf(const Report& report);

class WorkerCore {
 public:
  // `first_report` must be above every number that this worker ever used (the daemon persists a bound, or derives it from its start).
  WorkerCore(WorkerId worker, std::uint64_t first_report, const WorkerCoreConfig& config = {});

  // `now_ms` is this machine's boot time and never goes back.
  std::vector<WorkerAction> On(const WorkerEvent& event, std::int64_t now_ms);

  // For Hello.
  std::vector<domain::AttemptKey> HelloAttempts() const;
  // For heartbeats.
  bool draining() const { return draining_; }
  // Attempts whose processes may live, oldest first; a drained daemon may end once there are none and no report waits.
  std::vector<domain::AttemptKey> LiveAttempts() const;
  std::size_t unacknowledged_reports() const { return reports_.size(); }
  // Every report below this number was given out by this process.
  std::uint64_t next_report() const { return next_report_; }
  // The coordinator counts on this worker.
  bool HoldsLease(std::int64_t now_ms) const { return now_ms < lease_until_ms_; }

 private:
  struct Local {
    bool started = false;
    bool member = false;
    bool forgotten = false;
    bool delivered = false;
    std::optional<domain::StopMode> stopping;
    std::string stop_reason;
    std::optional<std::int64_t> kill_at_ms;  // when it is (again) to be killed
    std::optional<domain::AttemptEnd> end;
  };

  void Handle(const Restored& event, std::int64_t now_ms);
  void Handle(const Connected& event, std::int64_t now_ms);
  void Handle(const Disconnected& event, std::int64_t now_ms);
  void Handle(const LeaseRenewed& event, std::int64_t now_ms);
  void Handle(const Launched& event, std::int64_t now_ms);
  void Handle(const StopAsked& event, std::int64_t now_ms);
  void Handle(const ForgetAsked& event, std::int64_t now_ms);
  void Handle(const ReportAcknowledged& event, std::int64_t now_ms);
  void Handle(const SamplesFenced& event, std::int64_t now_ms);
  void Handle(const GangUp& event, std::int64_t now_ms);
  void Handle(const CheckpointReady& event, std::int64_t now_ms);
  void Handle(const SupervisorEnded& event, std::int64_t now_ms);
  void Handle(const EventsDelivered& event, std::int64_t now_ms);
  void Handle(const DrainAsked& event, std::int64_t now_ms);
  void Handle(const Ticked& event, std::int64_t now_ms);

  void Stop(const domain::AttemptKey& key, Local* local, domain::StopMode mode, const std::string& reason, std::int64_t now_ms);
  void Forget(const domain::AttemptKey& key, const std::string& reason, std::int64_t now_ms);
  void Kill(const domain::AttemptKey& key, Local* local, const std::string& reason, std::int64_t now_ms);
  void AddReport(Report report);
  bool HasReports(const domain::AttemptKey& key) const;
  void DropIfDone(const domain::AttemptKey& key);

  WorkerId worker_;
  WorkerCoreConfig config_;
  std::uint64_t next_report_;
  std::map<domain::AttemptKey, Local> attempts_;
  std::map<std::uint64_t, Report> reports_;
  // The greatest attempt number of every run that was ever named here: a late Launch of an older one starts nothing.
  std::map<RunId, AttemptNumber> newest_;
  bool connected_ = false;
  bool draining_ = false;
  bool draining_stops_ = false;
  std::string drain_reason_;
  std::int64_t lease_until_ms_ = 0;
  // Since when the coordinator has not been heard; empty before the first event.
  std::optional<std::int64_t> away_since_ms_;
  std::vector<WorkerAction> actions_;
};

}  // namespace entrain::worker
