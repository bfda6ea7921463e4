// What this machine offers: GPUs through NVML, loaded at run time where it is installed, else processor cores.
#pragma once

#include <cstdint>
#include <string>

#include "domain/fleet.h"

namespace entrain::agent {

struct Devices {
  domain::SlotKind kind = domain::SlotKind::kCpu;
  std::int32_t count = 0;
  std::string model;    // of the GPUs, or of the processor
  std::string missing;  // why count is 0, for people
  bool driver = false;  // of GPUs, there is one: what is missing now may come back
};

// count 0 when there is no driver or no GPU. CUDA_VISIBLE_DEVICES of the environment limits the count. `library` is NVML's.
Devices ProbeGpus(const std::string& library = "libnvidia-ml.so.1");
// Cores that this process may use: its affinity, limited by the cgroup's quota.
Devices ProbeCores();

}  // namespace entrain::agent
