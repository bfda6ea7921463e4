// The coordinator and the worker of `entrain local`: child processes that are started again when they die.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <sys/types.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "cli/interrupts.h"

namespace entrain::cli::local {

// One program that should run. Used by the main thread only: a child gets SIGTERM when the thread that forked it ends.
class Child {
 public:
  // `log_path` gets its output, appended.
  Child(std::string name, std::string log_path, const Interrupts* interrupts)
      : name_(std::move(name)), log_path_(std::move(log_path)), interrupts_(interrupts) {}

  // In a session of its own, so that a Ctrl-C at the terminal reaches only the parent, which ends its children in order.
  absl::Status Start(const std::vector<std::string>& command);
  bool running() const { return pid_ > 0; }
  pid_t pid() const { return pid_; }
  const std::string& name() const { return name_; }
  const std::string& log_path() const { return log_path_; }
  // Reaps it if it ended; then `how` says "exit code 1" or "signal 9 (Killed)".
  bool Ended(std::string* how, int* exit_code);
  void Signal(int signal) const;
  // The last lines that it wrote in its present life.
  std::string LogTail(int lines) const;

 private:
  std::string name_;
  std::string log_path_;
  const Interrupts* interrupts_;
  pid_t pid_ = 0;
  std::int64_t log_start_bytes_ = 0;
};

// When to start a child again: at once after a long life, later and later after short ones, never after five in a row.
class RestartPolicy {
 public:
  static constexpr std::int64_t kLongLifeMs = 10'000;
  static constexpr int kMaxShortLives = 5;
  // The child that was started at `started_ms` died at `now_ms`: when to start the next one; -1: give up.
  std::int64_t NextStartMs(std::int64_t started_ms, std::int64_t now_ms);

 private:
  int short_lives_ = 0;
};

// The absolute path of a program that lies beside this one. NOT_FOUND.
absl::StatusOr<std::string> ProgramBeside(const std::string& name);

}  // namespace entrain::cli::local
