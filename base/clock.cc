#include "base/clock.h"

#include <ctime>

namespace entrain {
namespace {

std::int64_t ReadNs(clockid_t id) {
  timespec now{};
  clock_gettime(id, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

std::int64_t SystemClock::BootNs() const { return ReadNs(CLOCK_BOOTTIME); }
std::int64_t SystemClock::WallMs() const { return ReadNs(CLOCK_REALTIME) / 1'000'000; }

}  // namespace entrain
