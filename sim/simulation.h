// One simulated cluster: five machines, a coordinator, people, and everything that goes wrong, all drawn from one seed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/coverage.h"

namespace entrain::sim {

struct Options {
  std::uint64_t seed = 1;
  // Decided by the coordinator's core, at least.
  std::int64_t min_events = 2'000;
  std::int64_t runs = 20;
  bool keep_trace = false;
};

struct Report {
  std::uint64_t seed = 0;
  std::string broken;  // empty: everything held
  std::int64_t core_events = 0;
  std::int64_t worker_events = 0;
  std::int64_t runs = 0;
  std::int64_t virtual_ms = 0;
  std::int64_t coordinator_crashes = 0;
  std::int64_t partitions = 0;
  std::int64_t failed_writes = 0;
  std::int64_t torn_writes = 0;
  Coverage coverage;
  std::vector<std::string> trace;  // whole, if it was kept
};

// The same options give the same report.
Report Simulate(const Options& options);

}  // namespace entrain::sim
