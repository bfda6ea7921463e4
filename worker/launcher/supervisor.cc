#include "worker/launcher/supervisor.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "worker/attempt/control_socket.h"
#include "worker/launcher/renewal.h"
#include "worker/launcher/runtime_folder.h"

namespace entrain::launcher {
namespace {

constexpr std::int64_t kPollMs = 500;
constexpr std::int64_t kSweepPollMs = 10;
// Longer between two looks, and it was this process that did not run.
constexpr std::int64_t kOwnPauseMs = 3'000;

sigset_t WatchedSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGCHLD, SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  return signals;
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// The child between fork and exec: async-signal-safe calls only. Writes errno to `report_fd` when it cannot become the program.
[[noreturn]] void Become(char* const* arguments, char* const* environment, pid_t parent, int report_fd) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);
  const sigset_t signals = WatchedSignals();
  ::sigprocmask(SIG_UNBLOCK, &signals, nullptr);
  ::execve(arguments[0], arguments, environment);
  const int error = errno;
  if (::write(report_fd, &error, sizeof(error)) < 0) ::_exit(126);
  ::_exit(127);
}

}  // namespace

Supervisor::Supervisor(std::string folder, SupervisorSettings settings, const Clock* clock)
    : folder_(std::move(folder)), settings_(std::move(settings)), clock_(clock) {}

Supervisor::~Supervisor() {
  if (lifeline_fd_ >= 0) ::close(lifeline_fd_);
  if (lock_fd_ >= 0) ::close(lock_fd_);
}

absl::Status Supervisor::Claim() {
  const std::string lock_path = folder_.Path("supervisor.lock");
  lock_fd_ = ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock_fd_ < 0) return ErrnoStatus(errno, "open", lock_path);
  if (::flock(lock_fd_, LOCK_EX | LOCK_NB) != 0) {
    return absl::AlreadyExistsError(StrCat(folder_.root(), " has a supervisor"));
  }
  if (ReadSupervisorRecord(folder_).ok()) {
    return absl::AlreadyExistsError(StrCat(folder_.root(), " had a supervisor; an attempt is never started twice"));
  }
  ENTRAIN_ASSIGN_OR_RETURN(spec_, folder_.ReadSpec());
  runtime_ = RuntimePathsOf(folder_.root(), ::geteuid());
  ENTRAIN_RETURN_IF_ERROR(PrepareRuntime());
  ENTRAIN_RETURN_IF_ERROR(HoldLifeline());
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) return ErrnoStatus(errno, "prctl", "PR_SET_CHILD_SUBREAPER");
  const sigset_t signals = WatchedSignals();
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  started_boot_ms_ = renewed_boot_ms_ = clock_->BootMs();
  renewal_stamp_ns_ = RenewalStampNs(folder_.root());
  return WriteSupervisorRecord(folder_, SupervisorRecord{IdentityOf(::getpid())});
}

absl::Status Supervisor::PrepareRuntime() {
  for (const std::string& path : {runtime_.temporary, runtime_.shared_memory}) {
    ENTRAIN_RETURN_IF_ERROR(MakePrivateFolder(std::filesystem::path(path).parent_path().string()));
    ENTRAIN_RETURN_IF_ERROR(MakePrivateFolder(path));
  }
  return absl::OkStatus();
}

absl::Status Supervisor::HoldLifeline() {
  const std::string path = folder_.Path("lifeline");
  if (::mkfifo(path.c_str(), 0600) != 0 && errno != EEXIST) return ErrnoStatus(errno, "mkfifo", path);
  lifeline_fd_ = ::open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (lifeline_fd_ < 0) return ErrnoStatus(errno, "open", path);
  return absl::OkStatus();
}

absl::Status Supervisor::Run(const std::map<std::string, std::string>& own_environment) {
  const absl::StatusOr<GangCommand> command = MakeCommand(own_environment);
  if (!command.ok()) {
    std::fprintf(stderr, "entrain-supervisor: %s\n", std::string(command.status().message()).c_str());
    exit_.reason = ExitReason::kNotStarted;
    exit_.exit_status = ENOENT;
  } else {
    rank_watch_.emplace(folder_, spec_.first_rank, LocalRanks(spec_));
    link_watch_.emplace(spec_.watched, clock_->BootMs());
    watched_boot_ms_ = clock_->BootMs();
    Start(*command);
    WatchUntilEnd();
    EndLeftovers();
  }
  RemoveRuntime();
  exit_.duration_ms = clock_->BootMs() - started_boot_ms_;
  return WriteSupervisorExit(folder_, exit_);
}

absl::StatusOr<GangCommand> Supervisor::MakeCommand(const std::map<std::string, std::string>& own_environment) const {
  const ProgramPaths& programs = settings_.programs;
  OrtedParameters orted;
  if (IsMember(spec_)) {
    if (programs.orted.empty()) return absl::NotFoundError("orted was not found on this machine");
    ENTRAIN_ASSIGN_OR_RETURN(orted, ReadOrtedParameters(folder_));
  } else if (NeedsMpirun(spec_) && programs.mpirun.empty()) {
    return absl::NotFoundError("mpirun was not found on this machine");
  } else if (SpansMachines(spec_) && programs.rsh_agent.empty()) {
    return absl::NotFoundError("entrain-rsh-agent was not found on this machine");
  }
  return MakeGangCommand(spec_, folder_.root(), programs, runtime_, own_environment, orted);
}

void Supervisor::Start(const GangCommand& command) {
  GangCommand owned = command;
  const std::vector<char*> arguments = Pointers(owned.arguments);
  const std::vector<char*> environment = Pointers(owned.environment);
  int report[2];
  if (::pipe2(report, O_CLOEXEC) != 0) report[0] = report[1] = -1;
  const pid_t parent = ::getpid();
  main_pid_ = ::fork();
  if (main_pid_ == 0) Become(arguments.data(), environment.data(), parent, report[1]);
  int error = main_pid_ < 0 ? errno : 0;
  ::close(report[1]);
  if (main_pid_ > 0 && ::read(report[0], &error, sizeof(error)) != sizeof(error)) error = 0;
  ::close(report[0]);
  if (error == 0) return;
  std::fprintf(stderr, "entrain-supervisor: cannot execute %s: %s\n", owned.arguments[0].c_str(), std::strerror(error));
  exit_.reason = ExitReason::kNotStarted;
  if (main_pid_ > 0) ::waitpid(main_pid_, nullptr, 0);
  exit_.exit_status = error;
  main_ended_ = true;
}

void Supervisor::WatchUntilEnd() {
  while (!main_ended_) {
    const int signal = WaitForSignal(kPollMs);
    Reap();
    if (main_ended_) return;
    if (signal == SIGTERM || signal == SIGINT || signal == SIGHUP) BeginEnd(ExitReason::kAskedToEnd);
    CheckDaemon();
    CheckFinished();
    CheckRanksAndLinks();
    if (ending_since_boot_ms_ >= 0 && clock_->BootMs() - ending_since_boot_ms_ >= settings_.grace_ms) SignalGang(SIGKILL);
  }
}

int Supervisor::WaitForSignal(std::int64_t limit_ms) {
  const sigset_t signals = WatchedSignals();
  timespec limit{.tv_sec = limit_ms / 1000, .tv_nsec = (limit_ms % 1000) * 1'000'000};
  const int signal = ::sigtimedwait(&signals, nullptr, &limit);
  return signal > 0 ? signal : 0;
}

void Supervisor::Reap() {
  int status = 0;
  pid_t pid = 0;
  while ((pid = ::waitpid(-1, &status, WNOHANG)) > 0) {
    if (pid != main_pid_) continue;
    main_ended_ = true;
    exit_.exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    exit_.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  }
}

void Supervisor::CheckDaemon() {
  const std::int64_t stamp_ns = RenewalStampNs(folder_.root());
  if (stamp_ns != renewal_stamp_ns_) {
    renewal_stamp_ns_ = stamp_ns;
    renewed_boot_ms_ = clock_->BootMs();
    return;
  }
  const std::int64_t absent_ms = clock_->BootMs() - renewed_boot_ms_;
  if (absent_ms < settings_.daemon_absence_limit_ms || ending_since_boot_ms_ >= 0) return;
  if (checkpoint_asked_boot_ms_ < 0) AskForCheckpoint();
  if (clock_->BootMs() - checkpoint_asked_boot_ms_ >= settings_.checkpoint_grace_ms) BeginEnd(ExitReason::kDaemonAbsent);
}

void Supervisor::CheckFinished() {
  if (finished_boot_ms_ >= 0) {
    if (clock_->BootMs() - finished_boot_ms_ >= settings_.finished_grace_ms) BeginEnd(ExitReason::kExited);
    return;
  }
  for (std::int64_t i = 0; i < LocalRanks(spec_); ++i) {
    if (::access(folder_.TerminalPath(spec_.first_rank + i).c_str(), F_OK) != 0) return;
  }
  finished_boot_ms_ = clock_->BootMs();
}

void Supervisor::CheckRanksAndLinks() {
  const std::int64_t now_ms = clock_->BootMs();
  if (now_ms - std::exchange(watched_boot_ms_, now_ms) > kOwnPauseMs) {
    rank_watch_->Restart(now_ms);
    link_watch_->Restart(now_ms);
  }
  rank_watch_->Poll(now_ms);
  link_watch_->Poll(now_ms);
  if (ending_since_boot_ms_ >= 0) return;
  if (const std::int64_t rank = rank_watch_->FrozenFor(settings_.heartbeat_timeout_ms, now_ms); rank >= 0) {
    return EndAtOnce(ExitReason::kRankFrozen, StrCat("rank ", rank, " did not run for ", settings_.heartbeat_timeout_ms, " ms"));
  }
  // With all records written nothing is left to lose.
  if (finished_boot_ms_ >= 0) return;
  if (const std::string silent = link_watch_->SilentFor(settings_.link_timeout_ms, now_ms); !silent.empty()) {
    EndAtOnce(ExitReason::kLinkLost, StrCat("the machine of ", silent, " did not answer for ", settings_.link_timeout_ms, " ms"));
  }
}

void Supervisor::AskForCheckpoint() {
  checkpoint_asked_boot_ms_ = clock_->BootMs();
  exit_.reason = ExitReason::kDaemonAbsent;
  std::fprintf(stderr, "entrain-supervisor: no daemon for %lld ms; ending the gang\n",
               static_cast<long long>(settings_.daemon_absence_limit_ms));
  if (IsMember(spec_)) {
    // Rank 0 listens on another machine; ranks that are asked to terminate make all of them stop at a checkpoint.
    for (const pid_t rank : RankProcesses(folder_.root())) ::kill(rank, SIGTERM);
    return;
  }
  const attempt::StopCommand stop{domain::StopMode::kCheckpoint, "no daemon on this machine"};
  if (!attempt::SendCommand(spec_.control_socket, stop).ok()) BeginEnd(ExitReason::kDaemonAbsent);
}

void Supervisor::BeginEnd(ExitReason reason) {
  if (ending_since_boot_ms_ >= 0) return;
  ending_since_boot_ms_ = clock_->BootMs();
  exit_.reason = reason;
  SignalGang(SIGTERM);
  // A stopped process acts on SIGTERM only once it runs again.
  SignalGang(SIGCONT);
}

void Supervisor::EndAtOnce(ExitReason reason, const std::string& detail) {
  std::fprintf(stderr, "entrain-supervisor: %s; ending the gang\n", detail.c_str());
  exit_.reason = reason;
  exit_.detail = detail;
  ending_since_boot_ms_ = clock_->BootMs() - settings_.grace_ms;
  SignalGang(SIGKILL);
}

void Supervisor::SignalGang(int signal) {
  for (const pid_t pid : GangProcesses(::getpid(), ::getpid(), folder_.root())) ::kill(pid, signal);
}

void Supervisor::EndLeftovers() {
  const std::int64_t since_boot_ms = clock_->BootMs();
  bool terminated = false;
  for (;;) {
    Reap();
    const std::vector<pid_t> left = GangProcesses(::getpid(), ::getpid(), folder_.root());
    if (left.empty()) return;
    const bool kill_now = clock_->BootMs() - since_boot_ms >= settings_.grace_ms;
    if (kill_now) exit_.killed = std::max(exit_.killed, static_cast<std::int64_t>(left.size()));
    if (kill_now || !terminated) SignalGang(kill_now ? SIGKILL : SIGTERM);
    terminated = true;
    WaitForSignal(kSweepPollMs);
  }
}

void Supervisor::RemoveRuntime() {
  RemoveRuntimeFolders(runtime_);
  ::unlink(folder_.Path("lifeline").c_str());
}

absl::Status ExecuteMember() {
  const auto variable = [](const char* name) { return std::string(std::getenv(name) == nullptr ? "" : std::getenv(name)); };
  std::string trainer = variable(kTrainerVariable);
  std::string folder = variable(kFolderVariable);
  if (trainer.empty() || folder.empty()) return absl::FailedPreconditionError("not under a supervisor of a gang over several machines");
  ::setenv("OMPI_MCA_btl_tcp_if_include", variable(kInterfaceVariable).c_str(), 1);
  ::setenv("OMPI_MCA_btl_vader_backing_directory", variable(kSharedMemoryVariable).c_str(), 1);
  std::string option = "--attempt";
  char* arguments[] = {trainer.data(), option.data(), folder.data(), nullptr};
  return ExecuteRank(arguments);
}

absl::Status ExecuteRank(char* const* arguments) {
  const pid_t parent = ::getppid();
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return ErrnoStatus(errno, "prctl", "PR_SET_PDEATHSIG");
  // Whoever died before the line above sent no signal; the lifeline tells (no reader but the supervisor holds it open).
  const char* lifeline = std::getenv(kLifelineVariable);
  const int descriptor = lifeline == nullptr ? -1 : ::open(lifeline, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  if (lifeline != nullptr && descriptor < 0) return ErrnoStatus(errno, "open lifeline", lifeline);
  if (descriptor >= 0) ::close(descriptor);
  if (::getppid() != parent) return absl::AbortedError("the parent process is gone");
  ::execv(arguments[0], arguments);
  return ErrnoStatus(errno, "execute", arguments[0]);
}

}  // namespace entrain::launcher
