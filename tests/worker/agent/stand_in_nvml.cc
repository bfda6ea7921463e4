// Stands in for the driver's libnvidia-ml.so.1 where there is no GPU: ENTRAIN_TEST_GPUS is how many it shows, or a negative error.
#include <cstdio>
#include <cstdlib>

extern "C" {

int nvmlInit_v2() {
  const int gpus = std::atoi(std::getenv("ENTRAIN_TEST_GPUS"));
  return gpus < 0 ? -gpus : 0;
}

int nvmlShutdown() { return 0; }

int nvmlDeviceGetCount_v2(unsigned int* count) {
  *count = static_cast<unsigned int>(std::atoi(std::getenv("ENTRAIN_TEST_GPUS")));
  return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int, void** device) {
  *device = nullptr;
  return 0;
}

int nvmlDeviceGetName(void*, char* name, unsigned int length) {
  std::snprintf(name, length, "Test GPU");
  return 0;
}

const char* nvmlErrorString(int) { return "Driver Not Loaded"; }
}
