// A child process of a test: started, killed, waited for; killed with the test.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace entrain::testing {

class Process {
 public:
  // Standard output and error go to `log_path`.
  static Process Start(const std::vector<std::string>& argv, const std::string& log_path,
                       const std::string& working_dir = "");
  Process() = default;
  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;
  ~Process();

  pid_t pid() const { return pid_; }
  bool running();
  void Signal(int signal) const;
  // kill -9 and reap.
  void KillNow();
  // The exit code (128 + signal when killed), or -1 when it still runs after `timeout_ms`.
  int Wait(int timeout_ms);

 private:
  bool Reap(bool block);
  pid_t pid_ = 0;
  int exit_code_ = -1;
};

// Pids of live processes whose command line contains every one of `parts`; zombies are left out.
std::vector<pid_t> FindProcesses(const std::vector<std::string>& parts);

// Asks `condition` every few milliseconds until it holds or the time is over.
template <typename Condition>
bool Eventually(Condition condition, int timeout_ms = 30'000);

void PollPause();
long long NowMs();

template <typename Condition>
bool Eventually(Condition condition, int timeout_ms) {
  const long long deadline = NowMs() + timeout_ms;
  while (!condition()) {
    if (NowMs() > deadline) return false;
    PollPause();
  }
  return true;
}

}  // namespace entrain::testing
