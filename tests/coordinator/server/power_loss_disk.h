// A disk in memory under SQLite that forgets: what was not synced when the power fails is lost, kept or torn, as a real one may do. While
// one is there it is SQLite's default file system.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace entrain::server {

// What a power loss leaves of the changes since each file's last sync. The write that was under way is torn: its first half is there.
enum class Survivors {
  kNoneAndTorn,  // nothing but the torn half
  kAllAndTorn,   // all of it
  kSomeAndTorn,  // some of it, in no order: the disk writes when it likes
  kNone,         // nothing, not even that half
};

class PowerLossDisk {
 public:
  PowerLossDisk();
  ~PowerLossDisk();
  PowerLossDisk(const PowerLossDisk&) = delete;
  PowerLossDisk& operator=(const PowerLossDisk&) = delete;

  // The power fails during the `change`-th change (write, truncation, sync, deletion) from now, from 1; every call after it fails.
  void FailAt(std::int64_t change, Survivors survivors);
  bool failed() const;
  // The power is back: the files are what survived. All handles must be closed.
  void PowerOn();
  // Changes so far.
  std::int64_t changes() const;
  std::int64_t syncs() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace entrain::server
