// Signals as events of the main thread's own loop, so that no handler runs anywhere.
#pragma once

#include <csignal>
#include <cstdint>

namespace entrain::cli {

// While it lives, SIGINT, SIGTERM, SIGHUP, SIGCHLD and SIGWINCH are held back and returned by Wait. Made on the main thread before
// any other thread starts, which then hold them back too. A child process must call RestoreMask between fork and exec.
class Interrupts {
 public:
  Interrupts();
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  // The next signal, or 0 after `timeout_ms`, or as soon as `fd` can be read unless it is negative.
  int Wait(std::int64_t timeout_ms, int fd = -1) const;
  // The mask from before; async-signal-safe.
  void RestoreMask() const;

 private:
  sigset_t held_;
  sigset_t before_;
  int signal_fd_;
};

}  // namespace entrain::cli
