// What a worker says of its GPUs, and of those that it does not find.
#include "worker/agent/device_probe.h"

#include <cstdlib>

#include "gmock/gmock.h"

namespace entrain::agent {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class DeviceProbeTest : public testing::Test {
 protected:
  DeviceProbeTest() { ::unsetenv("CUDA_VISIBLE_DEVICES"); }

  static Devices Probe(const char* gpus) {
    ::setenv("ENTRAIN_TEST_GPUS", gpus, 1);
    return ProbeGpus(ENTRAIN_STAND_IN_NVML);
  }
};

TEST_F(DeviceProbeTest, CountsAndNamesTheDriversGpus) {
  const Devices devices = Probe("4");
  EXPECT_EQ(devices.kind, domain::SlotKind::kGpu);
  EXPECT_EQ(devices.count, 4);
  EXPECT_EQ(devices.model, "Test GPU");
  EXPECT_EQ(devices.missing, "");
  EXPECT_TRUE(devices.driver);
}

TEST_F(DeviceProbeTest, CountsOnlyWhatCudaMaySee) {
  ::setenv("CUDA_VISIBLE_DEVICES", "2,3", 1);
  EXPECT_EQ(Probe("4").count, 2);
  ::setenv("CUDA_VISIBLE_DEVICES", "", 1);
  const Devices devices = Probe("4");
  EXPECT_EQ(devices.count, 0);
  EXPECT_EQ(devices.missing, "CUDA_VISIBLE_DEVICES hides all 4");
}

TEST_F(DeviceProbeTest, SaysThatTheDriverIsNotThere) {
  const Devices devices = ProbeGpus("libnvidia-ml-of-no-machine.so.1");
  EXPECT_EQ(devices.count, 0);
  EXPECT_THAT(devices.missing, StartsWith("the NVIDIA driver's libraries are not here; in a container the NVIDIA runtime brings them"));
  EXPECT_FALSE(devices.driver);
  EXPECT_THAT(devices.missing, HasSubstr("libnvidia-ml-of-no-machine.so.1: cannot open shared object file"));
}

TEST_F(DeviceProbeTest, SaysWhatTheDriverSays) {
  EXPECT_TRUE(Probe("-9").driver);
  EXPECT_EQ(Probe("-9").missing, "the NVIDIA driver does not answer: Driver Not Loaded");
  EXPECT_THAT(Probe("0").missing, StartsWith("the NVIDIA driver answers and shows no GPU"));
  EXPECT_EQ(Probe("0").count, 0);
}

TEST_F(DeviceProbeTest, ALibraryWithoutTheFunctionsIsNotUsed) {
  EXPECT_EQ(ProbeGpus("libm.so.6").missing, "libm.so.6 lacks functions of NVML");
}

TEST_F(DeviceProbeTest, CoresAreAtLeastOne) {
  const Devices devices = ProbeCores();
  EXPECT_EQ(devices.kind, domain::SlotKind::kCpu);
  EXPECT_GE(devices.count, 1);
}

}  // namespace
}  // namespace entrain::agent
