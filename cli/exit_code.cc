#include "cli/exit_code.h"

#include <algorithm>

namespace entrain::cli {

ExitCode ExitCodeOf(const absl::Status& status) {
  if (status.ok()) return kExitOk;
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) ? kExitUnreachable : kExitError;
}

ExitCode ExitCodeOf(const std::vector<domain::RunState>& final_states) {
  const auto any = [&](domain::RunState state) {
    return std::find(final_states.begin(), final_states.end(), state) != final_states.end();
  };
  if (any(domain::RunState::kFailed)) return kExitFailed;
  if (any(domain::RunState::kCancelled)) return kExitCancelled;
  if (any(domain::RunState::kHalted)) return kExitHalted;
  return kExitOk;
}

}  // namespace entrain::cli
