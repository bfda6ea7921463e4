// The life of one rank process around its training: who it is, when it must end, and how it says how it ended.
#pragma once

#include <memory>
#include <string>

#include "worker/attempt/attempt_folder.h"
#include "worker/collective/collective.h"

namespace entrain::trainer {

// Exit codes, all below those of the shell and of signals.
inline constexpr int kExitUsage = 64;
inline constexpr int kExitHealth = 70;     // ended by a health rule: non-finite loss or gradients
inline constexpr int kExitRetryable = 75;  // out of memory, storage, launch, crash: another try may succeed
inline constexpr int kExitConfig = 78;     // the configuration, data or checkpoint cannot be used

struct RankOptions {
  // The newest checkpoints to keep; 0 keeps all for the daemon that publishes and deletes them.
  std::int64_t keep_checkpoints = 0;
  // Rank 0 prints its progress to standard output.
  bool print_progress = false;
};

// What the launcher says of this process; rank 0 of 1 without one.
struct LauncherPlace {
  int rank = 0;
  int world_size = 1;
};
LauncherPlace FindLauncherPlace();

// SIGTERM and SIGINT become the wish to stop at the next step with a checkpoint; a second one ends the process. SIGPIPE is ignored.
void InstallSignalHandlers();
// The kernel ends this process when its parent is gone; false when it is gone already.
bool BindToParent();

// Runs a rank of an attempt whose folder exists (the launcher's way in); the exit code. Leaves a terminal record whatever happens, short
// of a signal.
int RunAttempt(const std::string& folder, const RankOptions& options);
// The same with a collective that the caller has made.
int RunRank(const attempt::AttemptFolder& folder, std::unique_ptr<collective::Collective> collective,
            const RankOptions& options);

}  // namespace entrain::trainer
