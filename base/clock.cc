#include "base/clock.h"

#include <ctime>

namespace entrain {
namespace {

std::int64_t ReadMs(clockid_t id) {
  timespec now{};
  clock_gettime(id, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000;
}

}  // namespace

std::int64_t SystemClock::BootMs() const { return ReadMs(CLOCK_BOOTTIME); }
std::int64_t SystemClock::WallMs() const { return ReadMs(CLOCK_REALTIME); }

}  // namespace entrain
