// The process that watches one attempt's gang on one machine. It outlives the daemon, and nothing of the gang outlives it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "base/clock.h"
#include "worker/launcher/gang_command.h"
#include "worker/launcher/link_watch.h"
#include "worker/launcher/rank_watch.h"
#include "worker/launcher/supervisor_record.h"

namespace entrain::launcher {

struct SupervisorSettings {
  ProgramPaths programs;
  // Ends the gang when no daemon renewed for so long.
  std::int64_t daemon_absence_limit_ms = 600'000;
  // From SIGTERM to SIGKILL.
  std::int64_t grace_ms = 3'000;
  // From the request for a last checkpoint, when no daemon came back, to SIGTERM.
  std::int64_t checkpoint_grace_ms = 60'000;
  // From the last rank's terminal record to SIGTERM: who holds the gang open then has nothing left to do.
  std::int64_t finished_grace_ms = 15'000;
  // Ends the gang at once when a rank's process did not run for so long,
  std::int64_t heartbeat_timeout_ms = 10'000;
  // or another of its machines did not answer.
  std::int64_t link_timeout_ms = 15'000;
};

// One watch, from start to the end of the last process. Used once, by a process that has one thread and no other children.
class Supervisor {
 public:
  Supervisor(std::string folder, SupervisorSettings settings, const Clock* clock);
  ~Supervisor();
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  // Takes the folder (ALREADY_EXISTS: another supervisor has it, or had it) and writes supervisor.json. After OK the gang has one.
  absl::Status Claim();
  // Starts the gang, waits, cleans up, writes supervisor-exit.json. Claim() came first.
  absl::Status Run(const std::map<std::string, std::string>& own_environment);

 private:
  absl::Status HoldLifeline();
  absl::Status PrepareRuntime();
  // Forks and executes; a failed exec is an exit with reason kNotStarted.
  void Start(const GangCommand& command);
  void WatchUntilEnd();
  // Sleeps until a child ended, a signal came or `limit_ms` passed; returns the signal, 0 for none.
  int WaitForSignal(std::int64_t limit_ms);
  void Reap();
  absl::StatusOr<GangCommand> MakeCommand(const std::map<std::string, std::string>& own_environment) const;
  void CheckDaemon();
  void CheckRanksAndLinks();
  void CheckFinished();
  void AskForCheckpoint();
  // SIGTERM now, SIGKILL later, both to all of the gang.
  void BeginEnd(ExitReason reason);
  // SIGKILL: no rank could go on, and one that is stopped would not notice anything else.
  void EndAtOnce(ExitReason reason, const std::string& detail);
  void EndLeftovers();
  void RemoveRuntime();
  void SignalGang(int signal);

  attempt::AttemptFolder folder_;
  SupervisorSettings settings_;
  const Clock* clock_;
  attempt::AttemptSpec spec_;
  RuntimePaths runtime_;
  int lock_fd_ = -1;
  int lifeline_fd_ = -1;
  pid_t main_pid_ = 0;
  bool main_ended_ = false;
  std::int64_t started_boot_ms_ = 0;
  std::int64_t renewed_boot_ms_ = 0;   // when a renewal was last seen
  std::int64_t renewal_stamp_ns_ = 0;  // the renewal file's time then; only its change counts
  std::int64_t checkpoint_asked_boot_ms_ = -1;
  std::int64_t finished_boot_ms_ = -1;  // when every rank's record was first seen
  std::int64_t ending_since_boot_ms_ = -1;
  std::int64_t watched_boot_ms_ = 0;  // when ranks and links were last looked at
  std::optional<RankWatch> rank_watch_;
  std::optional<LinkWatch> link_watch_;
  SupervisorExit exit_;
};

// Binds this process's life to its parent's and becomes `arguments[0]`. Returns only on failure.
absl::Status ExecuteRank(char* const* arguments);
// The same for a rank of a gang over several machines, from what its machine's supervisor left in the environment.
absl::Status ExecuteMember();

}  // namespace entrain::launcher
