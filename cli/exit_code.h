// What the program's exit code says; docs/guide.md lists them for users.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "domain/run_state.h"

namespace entrain::cli {

enum ExitCode : int {
  kExitOk = 0,
  kExitError = 1,
  // Of a finished sweep: the worst of its runs' ends.
  kExitHalted = 3,
  kExitFailed = 4,
  kExitCancelled = 5,
  kExitTimedOut = 6,  // `wait --timeout` only
  kExitUsage = 64,
  kExitBadSweep = 65,
  kExitUnreachable = 69,
  kExitInterrupted = 130,
  kExitTerminated = 143,
};

// UNAVAILABLE and DEADLINE_EXCEEDED are kExitUnreachable, everything else is kExitError.
ExitCode ExitCodeOf(const absl::Status& status);

// kExitOk when every run succeeded (a pruned run ended as the sweep asked for); otherwise failed before cancelled before halted.
ExitCode ExitCodeOf(const std::vector<domain::RunState>& final_states);

}  // namespace entrain::cli
