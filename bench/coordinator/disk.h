// Counts this process's fsync and fdatasync calls, and measures the disk's own.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace entrain::bench {

struct SyncCounts {
  std::int64_t calls = 0;
  std::int64_t total_ns = 0;
};
// Since the process began.
SyncCounts SyncsSoFar();

// Latencies of `count` syncs of one appended 4 KiB block each, in a file of this folder, microseconds.
std::vector<double> MeasureDiskSyncsUs(const std::string& folder, int count);

double QuantileOf(std::vector<double> values, double q);

}  // namespace entrain::bench
