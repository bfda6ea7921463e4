#include "cli/interrupts.h"

#include <ctime>
#include <initializer_list>

namespace entrain::cli {

Interrupts::Interrupts() {
  sigemptyset(&held_);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGCHLD, SIGWINCH}) sigaddset(&held_, signal);
  pthread_sigmask(SIG_BLOCK, &held_, &before_);
}

Interrupts::~Interrupts() { RestoreMask(); }

int Interrupts::Wait(std::int64_t timeout_ms) const {
  const timespec timeout{static_cast<std::time_t>(timeout_ms / 1000), static_cast<long>(timeout_ms % 1000) * 1'000'000};
  const int signal = ::sigtimedwait(&held_, nullptr, &timeout);
  return signal > 0 ? signal : 0;
}

void Interrupts::RestoreMask() const { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

}  // namespace entrain::cli
