#include "worker/launcher/launcher.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <thread>

#include "base/clock.h"
#include "base/files.h"
#include "base/spawn.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::launcher {
namespace {

constexpr std::int64_t kKillLimitMs = 10'000;
constexpr auto kPollInterval = std::chrono::milliseconds(5);
// Of entrain-supervisor: the folder is taken, or was.
constexpr int kExitAlreadyExists = 3;

bool IsExecutable(const std::string& path) {
  std::error_code ignored;
  return ::access(path.c_str(), X_OK) == 0 && std::filesystem::is_regular_file(path, ignored);
}

std::string FindInPath(const std::string& name, const std::string& search_path) {
  std::size_t begin = 0;
  while (begin <= search_path.size()) {
    const std::size_t end = std::min(search_path.find(':', begin), search_path.size());
    const std::string candidate = StrCat(search_path.substr(begin, end - begin), "/", name);
    if (candidate.front() == '/' && end > begin && IsExecutable(candidate)) return candidate;
    begin = end + 1;
  }
  return "";
}

// Runs the program with its output appended to `log` and returns its exit status. The supervisor leaves this process at once (it
// forks and the first process ends when the second stands), so the wait is short.
absl::StatusOr<int> RunDetached(std::vector<std::string> arguments, const std::string& log) {
  const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const absl::Status opened = out < 0 ? ErrnoStatus(errno, "open", log) : absl::OkStatus();
  // Neither the daemon's blocked signals nor its terminal reach a gang.
  const absl::StatusOr<pid_t> pid = opened.ok() ? Spawn(arguments, {.streams = {nothing, out, out}, .new_session = true}) : opened;
  ::close(nothing);
  if (out >= 0) ::close(out);
  if (!pid.ok()) return pid.status();
  int status = 0;
  while (::waitpid(*pid, &status, 0) < 0) {
    if (errno != EINTR) return ErrnoStatus(errno, "wait for", arguments[0]);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// Waits until the supervisor is gone; false after `limit_ms`.
bool WaitUntilGone(const ProcessIdentity& supervisor, std::int64_t limit_ms) {
  const SystemClock clock;
  const std::int64_t deadline_boot_ms = clock.BootMs() + limit_ms;
  while (IsAlive(supervisor)) {
    if (clock.BootMs() >= deadline_boot_ms) return false;
    std::this_thread::sleep_for(kPollInterval);
  }
  return true;
}

// A session's number cannot be given to a new process while the session has members; a living process of that pid with another
// start time therefore means that ours is empty.
pid_t SessionStillOurs(const ProcessIdentity& supervisor) {
  if (supervisor.boot_id != BootId()) return 0;
  const std::optional<ProcessStat> stat = ReadStat(supervisor.pid);
  return stat && stat->start_ticks != supervisor.start_ticks ? 0 : supervisor.pid;
}

absl::Status KillRemaining(const std::string& folder, const ProcessIdentity& supervisor) {
  const SystemClock clock;
  const std::int64_t deadline_boot_ms = clock.BootMs() + kKillLimitMs;
  for (;;) {
    const std::vector<pid_t> left = GangProcesses(SessionStillOurs(supervisor), 0, folder);
    if (left.empty()) return absl::OkStatus();
    if (clock.BootMs() >= deadline_boot_ms) {
      std::string pids;
      for (const pid_t pid : left) StrAppend(&pids, " ", pid);
      return absl::InternalError(StrCat("processes of ", folder, " survive SIGKILL:", pids));
    }
    for (const pid_t pid : left) ::kill(pid, SIGKILL);
    std::this_thread::sleep_for(kPollInterval);
  }
}

}  // namespace

ProgramPaths FindPrograms(const std::string& own_program, const std::string& search_path) {
  const std::string beside = std::filesystem::path(own_program).parent_path().string();
  ProgramPaths programs;
  if (IsExecutable(beside + "/entrain-trainer")) programs.trainer = beside + "/entrain-trainer";
  if (IsExecutable(beside + "/entrain-supervisor")) programs.supervisor = beside + "/entrain-supervisor";
  if (IsExecutable(beside + "/entrain-rsh-agent")) programs.rsh_agent = beside + "/entrain-rsh-agent";
  programs.mpirun = FindInPath("mpirun", search_path);
  programs.orted = FindInPath("orted", search_path);
  return programs;
}

absl::Status StartSupervisor(const std::string& folder, const LaunchOptions& options) {
  ENTRAIN_ASSIGN_OR_RETURN(const GangState state, FindSupervisor(folder));
  if (state == GangState::kRunning) return absl::OkStatus();
  if (state == GangState::kEnded) return absl::FailedPreconditionError(StrCat(folder, " was started and has ended"));
  std::vector<std::string> arguments = {options.programs.supervisor, folder, "--trainer", options.programs.trainer,
                                        "--daemon-absence-limit-ms", std::to_string(options.daemon_absence_limit_ms),
                                        "--grace-ms", std::to_string(options.grace_ms),
                                        "--finished-grace-ms", std::to_string(options.finished_grace_ms),
                                        "--heartbeat-timeout-ms", std::to_string(options.heartbeat_timeout_ms),
                                        "--link-timeout-ms", std::to_string(options.link_timeout_ms)};
  for (const auto& [name, program] : {std::pair{"--mpirun", options.programs.mpirun}, std::pair{"--orted", options.programs.orted},
                                      std::pair{"--rsh-agent", options.programs.rsh_agent}}) {
    if (!program.empty()) arguments.insert(arguments.end(), {name, program});
  }
  ENTRAIN_ASSIGN_OR_RETURN(const int status, RunDetached(std::move(arguments), folder + "/log.txt"));
  if (status == 0 || status == kExitAlreadyExists) return absl::OkStatus();
  return absl::InternalError(StrCat(options.programs.supervisor, " ended with status ", status, "; see ", folder, "/log.txt"));
}

absl::StatusOr<GangState> FindSupervisor(const std::string& folder) {
  const absl::StatusOr<SupervisorRecord> record = ReadSupervisorRecord(attempt::AttemptFolder(folder));
  if (absl::IsNotFound(record.status())) return GangState::kNotStarted;
  if (!record.ok()) return record.status();
  return IsAlive(record->identity) ? GangState::kRunning : GangState::kEnded;
}

absl::Status KillGang(const std::string& folder, std::int64_t grace_ms) {
  const absl::StatusOr<SupervisorRecord> record = ReadSupervisorRecord(attempt::AttemptFolder(folder));
  if (absl::IsNotFound(record.status())) return absl::OkStatus();
  if (!record.ok()) return record.status();
  const ProcessIdentity& supervisor = record->identity;
  // The supervisor itself needs its own grace before it kills; past that it is stuck and goes too.
  if (grace_ms > 0 && SignalProcess(supervisor, SIGTERM)) WaitUntilGone(supervisor, grace_ms);
  if (SignalProcess(supervisor, SIGKILL)) WaitUntilGone(supervisor, kKillLimitMs);
  const absl::Status killed = KillRemaining(folder, supervisor);
  RemoveRuntimeFolders(RuntimePathsOf(folder, ::geteuid()));
  return killed;
}

}  // namespace entrain::launcher
