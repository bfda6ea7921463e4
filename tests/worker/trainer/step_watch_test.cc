#include "worker/trainer/step_watch.h"

#include <unistd.h>

#include <atomic>
#include <filesystem>

#include "base/files.h"
#include "base/strings.h"
#include "gtest/gtest.h"
#include "tests/worker/launcher/gang_on_disk.h"

namespace entrain::trainer {
namespace {

// Moved by the test, read by the watch's thread.
class SharedClock : public Clock {
 public:
  std::int64_t BootNs() const override { return ms_.load() * 1'000'000; }
  std::int64_t WallMs() const override { return ms_.load(); }
  void Advance(std::int64_t ms) { ms_ += ms; }

 private:
  std::atomic<std::int64_t> ms_{1'000};
};

TEST(StepWatchTest, AHungStepIsToldOnceAndNeverWhileTheDiskIsWaitedFor) {
  const std::string path = StrCat(testing::TempDir(), "/heartbeat-", ::getpid());
  SharedClock clock;
  std::atomic<int> told{0};
  {
    StepWatch watch(path, &clock, [&told](const std::string&) { ++told; });
    EXPECT_TRUE(std::filesystem::exists(path));
    const auto looked_again = [&path] {
      // Looked at after each touch.
      for (int touches = 0; touches < 2; ++touches) {
        const auto before = std::filesystem::last_write_time(path);
        EXPECT_TRUE(launcher::Eventually([&] { return std::filesystem::last_write_time(path) != before; }));
      }
    };
    clock.Advance(100'000);  // loading has no measure
    looked_again();
    EXPECT_EQ(told, 0);
    watch.StepDone(std::chrono::seconds(30));
    watch.Suspend();
    clock.Advance(100'000);
    looked_again();
    EXPECT_EQ(told, 0);
    watch.Resume();
    clock.Advance(29'000);
    watch.Progress();
    clock.Advance(29'000);
    looked_again();
    EXPECT_EQ(told, 0);
    clock.Advance(2'000);
    EXPECT_TRUE(launcher::Eventually([&] { return told > 0; }));
    looked_again();
  }
  EXPECT_EQ(told, 1);
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace entrain::trainer
