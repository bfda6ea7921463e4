#include "tests/integration/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "base/files.h"

namespace entrain::testing {
namespace {

[[noreturn]] void Exec(const std::vector<std::string>& argv, const std::string& log_path, const std::string& working_dir) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int log = open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  if (!working_dir.empty() && chdir(working_dir.c_str()) != 0) _exit(126);
  std::vector<char*> arguments;
  for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  execv(arguments[0], arguments.data());
  _exit(127);
}

bool CommandHolds(const std::string& pid, const std::vector<std::string>& parts) {
  const auto command = ReadFile("/proc/" + pid + "/cmdline");
  if (!command.ok() || command->empty()) return false;
  std::string text = *command;
  std::replace(text.begin(), text.end(), '\0', ' ');
  return std::all_of(parts.begin(), parts.end(),
                     [&text](const std::string& part) { return text.find(part) != std::string::npos; });
}

}  // namespace

Process Process::Start(const std::vector<std::string>& argv, const std::string& log_path, const std::string& working_dir) {
  Process process;
  process.pid_ = fork();
  ENTRAIN_CHECK(process.pid_ >= 0);
  if (process.pid_ == 0) Exec(argv, log_path, working_dir);
  return process;
}

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)), exit_code_(std::exchange(other.exit_code_, -1)) {}

Process& Process::operator=(Process&& other) noexcept {
  if (this != &other) {
    KillNow();
    pid_ = std::exchange(other.pid_, 0);
    exit_code_ = std::exchange(other.exit_code_, -1);
  }
  return *this;
}

Process::~Process() { KillNow(); }

bool Process::Reap(bool block) {
  if (pid_ == 0) return true;
  int status = 0;
  if (waitpid(pid_, &status, block ? 0 : WNOHANG) != pid_) return false;
  exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  pid_ = 0;
  return true;
}

bool Process::running() { return !Reap(false); }

void Process::Signal(int signal) const {
  if (pid_ > 0) kill(pid_, signal);
}

void Process::KillNow() {
  if (pid_ == 0) return;
  kill(pid_, SIGKILL);
  Reap(true);
}

int Process::Wait(int timeout_ms) {
  if (!Eventually([this] { return Reap(false); }, timeout_ms)) return -1;
  return exit_code_;
}

std::vector<pid_t> FindProcesses(const std::vector<std::string>& parts) {
  std::vector<pid_t> found;
  DIR* proc = opendir("/proc");
  ENTRAIN_CHECK(proc != nullptr);
  while (const dirent* entry = readdir(proc)) {
    const std::string name = entry->d_name;
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    if (CommandHolds(name, parts)) found.push_back(std::atoi(name.c_str()));
  }
  closedir(proc);
  return found;
}

void PollPause() { usleep(20'000); }

long long NowMs() { return SystemClock().BootMs(); }

}  // namespace entrain::testing
