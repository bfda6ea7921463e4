#include "worker/agent/device_probe.h"

#include <dlfcn.h>
#include <sched.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "base/files.h"
#include "base/strings.h"

namespace entrain::agent {
namespace {

// The part of NVML's documented C interface (nvml.h) that is needed here; its handles are opaque pointers and success is 0.
struct Nvml {
  using Init = int (*)();
  using Count = int (*)(unsigned int*);
  using Handle = int (*)(unsigned int, void**);
  using Name = int (*)(void*, char*, unsigned int);
  using ErrorText = const char* (*)(int);

  Init init = nullptr;
  Init shutdown = nullptr;
  Count count = nullptr;
  Handle handle = nullptr;
  Name name = nullptr;
  ErrorText error_text = nullptr;

  // Why it cannot be used; empty when it can. Stays loaded.
  std::string Load(const std::string& path) {
    void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      return StrCat("the NVIDIA driver's libraries are not here; in a container the NVIDIA runtime brings them from the host (", ::dlerror(), ")");
    }
    init = reinterpret_cast<Init>(::dlsym(library, "nvmlInit_v2"));
    shutdown = reinterpret_cast<Init>(::dlsym(library, "nvmlShutdown"));
    count = reinterpret_cast<Count>(::dlsym(library, "nvmlDeviceGetCount_v2"));
    handle = reinterpret_cast<Handle>(::dlsym(library, "nvmlDeviceGetHandleByIndex_v2"));
    name = reinterpret_cast<Name>(::dlsym(library, "nvmlDeviceGetName"));
    error_text = reinterpret_cast<ErrorText>(::dlsym(library, "nvmlErrorString"));
    if (init != nullptr && shutdown != nullptr && count != nullptr && handle != nullptr && name != nullptr && error_text != nullptr) return "";
    return StrCat(path, " lacks functions of NVML");
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

Devices ProbeGpus(const std::string& library) {
  Devices devices{.kind = domain::SlotKind::kGpu};
  Nvml nvml;
  devices.missing = nvml.Load(library);
  if (!devices.missing.empty()) return devices;
  devices.driver = true;
  if (const int error = nvml.init(); error != 0) {
    devices.missing = StrCat("the NVIDIA driver does not answer: ", nvml.error_text(error));
    return devices;
  }
  unsigned int count = 0;
  void* first = nullptr;
  char name[96] = "GPU";
  const int error = nvml.count(&count);
  if (error == 0 && count > 0 && nvml.handle(0, &first) == 0) nvml.name(first, name, sizeof(name));
  if (error != 0) devices.missing = StrCat("the NVIDIA driver does not count its GPUs: ", nvml.error_text(error));
  nvml.shutdown();
  if (error != 0) return devices;
  devices.count = VisibleLimit(static_cast<std::int32_t>(count));
  devices.model = name;
  if (count == 0) devices.missing = "the NVIDIA driver answers and shows no GPU; in a pod, the limit nvidia.com/gpu gives some";
  if (count > 0 && devices.count == 0) devices.missing = StrCat("CUDA_VISIBLE_DEVICES hides all ", count);
  return devices;
}

Devices ProbeCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  const std::int32_t cores = ::sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
  return Devices{.kind = domain::SlotKind::kCpu, .count = QuotaLimit(cores), .model = ProcessorModel()};
}

}  // namespace entrain::agent
