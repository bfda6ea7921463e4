// A gang of the fake trainer in a folder of its own, for tests of real processes.
#pragma once

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/files.h"
#include "base/strings.h"
#include "gtest/gtest.h"
#include "tests/worker/launcher/fake_run.h"
#include "worker/launcher/launcher.h"
#include "worker/launcher/process.h"

namespace entrain::launcher {

// Polls until `condition` holds; false after `limit_ms`.
inline bool Eventually(const std::function<bool()>& condition, int limit_ms = 20'000) {
  for (int waited_ms = 0; waited_ms < limit_ms; waited_ms += 5) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return condition();
}

inline ProgramPaths FakePrograms() {
  ProgramPaths programs = FindPrograms(std::string(ENTRAIN_BIN_DIR) + "/x", "/usr/local/bin:/usr/bin:/bin");
  programs.trainer = std::string(ENTRAIN_BIN_DIR) + "/entrain_fake_trainer";
  return programs;
}

class GangOnDisk {
 public:
  GangOnDisk(const FakeRun& run, std::int64_t world_size)
      : root_(StrCat(std::filesystem::canonical(testing::TempDir()).string(), "/gang-", ::getpid(), "-", ++count_)) {
    attempt::AttemptSpec spec;
    spec.key = {RunId("run"), 1};
    spec.collective = world_size == 1 ? "single" : "mpi";
    spec.control_socket = RuntimePathsOf(root_, ::geteuid()).control_socket;
    spec.world_size = spec.ranks_per_machine = world_size;
    options_.programs = FakePrograms();
    options_.grace_ms = 300;
    EXPECT_TRUE(MakeFolders(root_).ok());
    EXPECT_TRUE(attempt::AttemptFolder(root_).Create(spec, run.ToJson()).ok());
  }
  ~GangOnDisk() {
    EXPECT_TRUE(KillGang(root_, 0).ok());
    std::filesystem::remove_all(root_);
  }

  const std::string& root() const { return root_; }
  LaunchOptions& options() { return options_; }
  attempt::AttemptFolder folder() const { return attempt::AttemptFolder(root_); }
  absl::Status Start() { return StartSupervisor(root_, options_); }
  ProcessIdentity supervisor() const { return ReadSupervisorRecord(folder())->identity; }
  // Processes of the gang, without its supervisor.
  std::vector<pid_t> Processes() const { return GangProcesses(0, 0, root_); }
  bool WaitForSteps(std::int64_t steps) const {
    return Eventually([&] { return ReadProgress(root_).last_step >= steps; });
  }
  bool WaitForEnd() const {
    return Eventually([&] { return *FindSupervisor(root_) == GangState::kEnded; });
  }
  // The first process of the gang whose command line holds `text`; 0 if there is none.
  pid_t Find(const std::string& text) const {
    for (const pid_t pid : Processes()) {
      const absl::StatusOr<std::string> command = ReadFile(StrCat("/proc/", pid, "/cmdline"));
      if (command.ok() && std::string_view(*command).substr(0, command->find('\0')).find(text) != std::string_view::npos) return pid;
    }
    return 0;
  }

 private:
  static inline int count_ = 0;
  std::string root_;
  LaunchOptions options_;
};

}  // namespace entrain::launcher
