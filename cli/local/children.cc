#include "cli/local/children.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>

#include "base/files.h"
#include "base/strings.h"

namespace entrain::cli::local {
namespace {

// Between fork and exec: only async-signal-safe calls. Never returns.
[[noreturn]] void Become(char* const* arguments, int log, pid_t parent, const Interrupts& interrupts) {
  ::setsid();
  // SIGTERM lets a worker checkpoint its gangs also when the parent was killed with -9.
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(1);
  const int null = ::open("/dev/null", O_RDONLY);
  ::dup2(null, STDIN_FILENO);
  ::dup2(log, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
  interrupts.RestoreMask();
  ::execv(arguments[0], arguments);
  const char message[] = "cannot execute the program\n";
  (void)!::write(STDERR_FILENO, message, sizeof(message) - 1);
  ::_exit(127);
}

}  // namespace

absl::Status Child::Start(const std::vector<std::string>& command) {
  const int log = ::open(log_path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (log < 0) return ErrnoStatus(errno, "open", log_path_);
  struct stat info {};
  log_start_bytes_ = ::fstat(log, &info) == 0 ? info.st_size : 0;
  std::vector<char*> arguments;
  for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) Become(arguments.data(), log, parent, *interrupts_);
  const int error = errno;
  ::close(log);
  if (pid < 0) return ErrnoStatus(error, "fork for", command.front());
  pid_ = pid;
  return absl::OkStatus();
}

bool Child::Ended(std::string* how, int* exit_code) {
  if (pid_ <= 0) return false;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) != pid_) return false;
  pid_ = 0;
  *exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  *how = WIFEXITED(status) ? StrCat("exit code ", WEXITSTATUS(status))
                           : StrCat("signal ", WTERMSIG(status), " (", ::strsignal(WTERMSIG(status)), ")");
  return true;
}

void Child::Signal(int signal) const {
  if (pid_ > 0) ::kill(pid_, signal);
}

std::string Child::LogTail(int lines) const {
  const absl::StatusOr<std::string> log = ReadFile(log_path_);
  if (!log.ok() || static_cast<std::int64_t>(log->size()) <= log_start_bytes_) return "";
  std::string text = log->substr(static_cast<std::size_t>(log_start_bytes_));
  std::size_t begin = text.size();
  for (int i = 0; i <= lines && begin != std::string::npos && begin > 0; ++i) begin = text.rfind('\n', begin - 1);
  return begin == std::string::npos || begin == 0 ? text : text.substr(begin + 1);
}

std::int64_t RestartPolicy::NextStartMs(std::int64_t started_ms, std::int64_t now_ms) {
  if (now_ms - started_ms >= kLongLifeMs) short_lives_ = 0;
  ++short_lives_;
  if (short_lives_ > kMaxShortLives) return -1;
  // 0, 0.5, 1, 2, 4 s.
  return short_lives_ == 1 ? now_ms : now_ms + (std::int64_t{250} << (short_lives_ - 1));
}

absl::StatusOr<std::string> ProgramBeside(const std::string& name) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return ErrnoStatus(error.value(), "read", "/proc/self/exe");
  const std::string path = (self.parent_path() / name).string();
  if (::access(path.c_str(), X_OK) != 0) return ErrnoStatus(errno, "find the program", path);
  return path;
}

}  // namespace entrain::cli::local
