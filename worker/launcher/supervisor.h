// The process that watches one attempt's gang on one machine. It outlives the daemon, and nothing of the gang outlives it.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "base/clock.h"
#include "worker/launcher/gang_command.h"
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
  void CheckDaemon();
  void CheckFinished();
  void AskForCheckpoint();
  // SIGTERM now, SIGKILL later, both to all of the gang.
  void BeginEnd(ExitReason reason);
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
  SupervisorExit exit_;
};

// Binds this process's life to its parent's and becomes `arguments[0]`. Returns only on failure.
absl::Status ExecuteRank(char* const* arguments);

}  // namespace entrain::launcher
