#include "bench/coordinator/disk.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "base/clock.h"

namespace {

std::atomic<std::int64_t> g_syncs{0};
std::atomic<std::int64_t> g_sync_ns{0};

int Counted(const char* name, int fd) {
  using Sync = int (*)(int);
  const auto real = reinterpret_cast<Sync>(dlsym(RTLD_NEXT, name));
  const entrain::SystemClock clock;
  const std::int64_t begin_ns = clock.BootNs();
  const int result = real(fd);
  g_syncs += 1;
  g_sync_ns += clock.BootNs() - begin_ns;
  return result;
}

}  // namespace

// In place of the C library's: SQLite's calls come here.
extern "C" int fsync(int fd) { return Counted("fsync", fd); }
extern "C" int fdatasync(int fd) { return Counted("fdatasync", fd); }

namespace entrain::bench {

SyncCounts SyncsSoFar() { return {g_syncs.load(), g_sync_ns.load()}; }

std::vector<double> MeasureDiskSyncsUs(const std::string& folder, int count) {
  const std::string path = folder + "/sync-probe";
  const int file = open(path.c_str(), O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) return {};
  const std::string block(4096, 'x');
  const SystemClock clock;
  std::vector<double> latencies_us;
  for (int i = 0; i < count; ++i) {
    if (write(file, block.data(), block.size()) != static_cast<ssize_t>(block.size())) break;
    const std::int64_t begin_ns = clock.BootNs();
    if (fdatasync(file) != 0) break;
    latencies_us.push_back(static_cast<double>(clock.BootNs() - begin_ns) / 1000.0);
  }
  close(file);
  unlink(path.c_str());
  return latencies_us;
}

double QuantileOf(std::vector<double> values, double q) {
  if (values.empty()) return 0.0;
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1))];
}

}  // namespace entrain::bench
