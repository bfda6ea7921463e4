// Time. Decisions use boot time (CLOCK_BOOTTIME, counts through suspend, never jumps); wall time is only a label for people.
#pragma once

#include <cstdint>

namespace entrain {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual std::int64_t BootNs() const = 0;
  std::int64_t BootMs() const { return BootNs() / 1'000'000; }
  // Milliseconds since the Unix epoch.
  virtual std::int64_t WallMs() const = 0;
};

// The machine's clocks.
class SystemClock : public Clock {
 public:
  std::int64_t BootNs() const override;
  std::int64_t WallMs() const override;
};

// A clock that a test or the simulator moves.
class ManualClock : public Clock {
 public:
  std::int64_t BootNs() const override { return boot_ms_ * 1'000'000; }
  std::int64_t WallMs() const override { return wall_base_ms_ + boot_ms_; }
  void Advance(std::int64_t ms) { boot_ms_ += ms; }

 private:
  std::int64_t boot_ms_ = 0;
  std::int64_t wall_base_ms_ = 1'700'000'000'000;
};

}  // namespace entrain
