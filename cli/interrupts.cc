#include "cli/interrupts.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <ctime>
#include <initializer_list>

namespace entrain::cli {

Interrupts::Interrupts() {
  sigemptyset(&held_);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGCHLD, SIGWINCH}) sigaddset(&held_, signal);
  pthread_sigmask(SIG_BLOCK, &held_, &before_);
  signal_fd_ = ::signalfd(-1, &held_, SFD_CLOEXEC | SFD_NONBLOCK);
}

Interrupts::~Interrupts() {
  ::close(signal_fd_);
  RestoreMask();
}

int Interrupts::Wait(std::int64_t timeout_ms, int fd) const {
  if (fd >= 0) {
    // Only tells that a signal waits; sigtimedwait takes it.
    pollfd ready[] = {{signal_fd_, POLLIN, 0}, {fd, POLLIN, 0}};
    ::poll(ready, 2, static_cast<int>(timeout_ms));
    timeout_ms = 0;
  }
  const timespec timeout{static_cast<std::time_t>(timeout_ms / 1000), static_cast<long>(timeout_ms % 1000) * 1'000'000};
  const int signal = ::sigtimedwait(&held_, nullptr, &timeout);
  return signal > 0 ? signal : 0;
}

void Interrupts::RestoreMask() const { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

}  // namespace entrain::cli
