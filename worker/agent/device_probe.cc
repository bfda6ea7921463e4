#include "worker/agent/device_probe.h"

#include <dlfcn.h>
#include <sched.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "base/files.h"

namespace entrain::agent {
namespace {

// The part of NVML's documented C interface (nvml.h) that is needed here; its handles are opaque pointers and success is 0.
struct Nvml {
  using Init = int (*)();
  using Count = int (*)(unsigned int*);
  using Handle = int (*)(unsigned int, void**);
  using Name = int (*)(void*, char*, unsigned int);

  Init init = nullptr;
  Init shutdown = nullptr;
  Count count = nullptr;
  Handle handle = nullptr;
  Name name = nullptr;

  bool Load() {
    void* library = ::dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return false;
    init = reinterpret_cast<Init>(::dlsym(library, "nvmlInit_v2"));
    shutdown = reinterpret_cast<Init>(::dlsym(library, "nvmlShutdown"));
    count = reinterpret_cast<Count>(::dlsym(library, "nvmlDeviceGetCount_v2"));
    handle = reinterpret_cast<Handle>(::dlsym(library, "nvmlDeviceGetHandleByIndex_v2"));
    name = reinterpret_cast<Name>(::dlsym(library, "nvmlDeviceGetName"));
    return init != nullptr && shutdown != nullptr && count != nullptr && handle != nullptr && name != nullptr;
  }
};

std::int32_t VisibleLimit(std::int32_t count) {
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  if (visible == nullptr) return count;
  const std::string_view list(visible);
  if (list.empty() || list == "-1") return 0;
  return std::min(count, static_cast<std::int32_t>(std::count(list.begin(), list.end(), ',') + 1));
}

std::string ProcessorModel() {
  const absl::StatusOr<std::string> text = ReadFile("/proc/cpuinfo");
  if (!text.ok()) return "CPU";
  const std::size_t line = text->find("model name");
  const std::size_t colon = line == std::string::npos ? line : text->find(": ", line);
  if (colon == std::string::npos) return "CPU";
  return text->substr(colon + 2, text->find('\n', colon) - colon - 2);
}

// Whole cores of the cgroup's quota, at least one; `cores` when there is no quota.
std::int32_t QuotaLimit(std::int32_t cores) {
  const absl::StatusOr<std::string> text = ReadFile("/sys/fs/cgroup/cpu.max");
  long long quota = 0, period = 0;
  if (!text.ok() || std::sscanf(text->c_str(), "%lld %lld", &quota, &period) != 2 || period <= 0) return cores;
  return std::clamp(static_cast<std::int32_t>(quota / period), std::int32_t{1}, cores);
}

}  // namespace

Devices ProbeGpus() {
  Devices devices{.kind = domain::SlotKind::kGpu};
  Nvml nvml;
  if (!nvml.Load() || nvml.init() != 0) return devices;
  unsigned int count = 0;
  void* first = nullptr;
  char name[96] = "GPU";
  if (nvml.count(&count) == 0 && count > 0 && nvml.handle(0, &first) == 0) nvml.name(first, name, sizeof(name));
  nvml.shutdown();
  devices.count = VisibleLimit(static_cast<std::int32_t>(count));
  devices.model = name;
  return devices;
}

Devices ProbeCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  const std::int32_t cores = ::sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
  return Devices{.kind = domain::SlotKind::kCpu, .count = QuotaLimit(cores), .model = ProcessorModel()};
}

}  // namespace entrain::agent
