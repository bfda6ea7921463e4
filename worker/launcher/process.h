// Processes by identity: a pid alone may be reused, a pid with its start time on one boot of the machine may not.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

namespace entrain::launcher {

// Every process of a gang carries this variable with its attempt folder, so that it is found even after it left its session.
inline constexpr char kFolderVariable[] = "ENTRAIN_ATTEMPT_FOLDER";

struct ProcessIdentity {
  pid_t pid = 0;
  std::uint64_t start_ticks = 0;  // since boot, field 22 of /proc/<pid>/stat
  std::string boot_id;
  friend bool operator==(const ProcessIdentity&, const ProcessIdentity&) = default;
};

struct ProcessStat {
  pid_t pid = 0;
  char state = '?';
  pid_t parent = 0;
  pid_t session = 0;
  std::uint64_t start_ticks = 0;
};

std::string BootId();
// nullopt when there is no such process.
std::optional<ProcessStat> ReadStat(pid_t pid);
ProcessIdentity IdentityOf(pid_t pid);
// Running (not a zombie), and the same process that the identity names.
bool IsAlive(const ProcessIdentity& identity);

// Sends `signal` to exactly this process; false when it is gone.
bool SignalProcess(const ProcessIdentity& identity, int signal);

// The processes, zombies left out, of the gang that lies in `folder` and was led by session `session`: members of that session,
// descendants of `ancestor` (0: none), and whoever carries kFolderVariable with this folder. `ancestor` and the caller are left out.
std::vector<pid_t> GangProcesses(pid_t session, pid_t ancestor, const std::string& folder);
// Of these, the ranks themselves.
std::vector<pid_t> RankProcesses(const std::string& folder);

}  // namespace entrain::launcher
