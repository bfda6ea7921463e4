// A disk that fills up while a run writes its checkpoints, on a small file system of the test's own.
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/files.h"
#include "base/strings.h"
#include "tests/integration/cluster.h"

namespace entrain::testing {
namespace {

class SmallDisk {
 public:
  explicit SmallDisk(std::string path) : path_(std::move(path)) {
    EXPECT_TRUE(MakeFolders(path_).ok());
    mounted_ = mount("entrain-test", path_.c_str(), "tmpfs", 0, "size=64m") == 0;
  }
  ~SmallDisk() {
    if (mounted_) umount2(path_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  bool mounted() const { return mounted_; }
  // Takes every byte that is left.
  void Fill() const {
    std::ofstream ballast(path_ + "/ballast", std::ios::binary);
    const std::string block(1 << 16, 'x');
    while (ballast.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) continue;
  }
  void Free() const { std::filesystem::remove(path_ + "/ballast"); }

 private:
  std::string path_;
  bool mounted_ = false;
};

TEST(FullDisk, ARunSaysWhyItFailedAndGoesOnOnceThereIsRoom) {
  Cluster cluster("full-disk");
  SmallDisk disk(cluster.root() + "/w1");
  if (!disk.mounted()) GTEST_SKIP() << "mounting a small file system needs root";
  cluster.StartCoordinator();
  cluster.StartWorker("w1", 2);
  const std::string sweep =
      cluster.Submit(SmallSweep("full-disk", "SM+LN+G", 1500, 2, "  checkpoint_interval_steps: 100\n"));
  const auto started = cluster.AwaitRun(sweep, [&](const v1::RunSummary& run) {
    return !run.id().empty() && cluster.GetRun(run.id()).checkpoints_size() > 0;
  });
  disk.Fill();
  cluster.AwaitRun(sweep, [&](const v1::RunSummary& run) { return run.failures() > 0; });
  const auto detail = cluster.GetRun(started.id());
  const bool says_why = std::any_of(detail.attempts().begin(), detail.attempts().end(), [&](const v1::AttemptInfo& attempt) {
    return attempt.cause() == "storage" &&
           (attempt.message().find("No space left on device") != std::string::npos ||
            attempt.message().find("bytes, the file system of") != std::string::npos) &&
           attempt.message().find(cluster.root() + "/w1/") != std::string::npos;
  });
  EXPECT_TRUE(says_why) << detail.DebugString();
  disk.Free();
  const auto run = cluster.AwaitState(sweep, "succeeded");
  EXPECT_EQ(cluster.Samples(run.id()).size(), 1500u);
  // Only whole checkpoints were published.
  const v1::RunDetail ended = cluster.GetRun(run.id());
  for (const auto& checkpoint : ended.checkpoints()) {
    EXPECT_TRUE(std::filesystem::exists(StrCat(cluster.root(), "/artifacts/", checkpoint.path(), "/manifest.json")));
  }
}

}  // namespace
}  // namespace entrain::testing
