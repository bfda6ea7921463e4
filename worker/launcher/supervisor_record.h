// The two files that a supervisor leaves in the attempt folder.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "worker/attempt/attempt_folder.h"
#include "worker/launcher/process.h"

namespace entrain::launcher {

// supervisor.json: who watches the gang. Written before the gang starts.
struct SupervisorRecord {
  ProcessIdentity identity;
};

// Why the supervisor ended its watch.
enum class ExitReason {
  kExited,        // mpirun or the trainer ended by itself
  kNotStarted,    // it could not be executed; exit_status is the errno
  kAskedToEnd,    // the daemon ended the gang
  kDaemonAbsent,  // no daemon renewed for the limit
  kRankFrozen,    // a rank's process did not run for the limit
  kLinkLost,      // another machine of the gang did not answer for the limit
};
std::string_view ToString(ExitReason reason);

// supervisor-exit.json: written, fsynced, once no process of the gang is left.
struct SupervisorExit {
  ExitReason reason = ExitReason::kExited;
  std::int32_t exit_status = 0;  // of mpirun or the single trainer
  std::int32_t signal = 0;       // that ended it; 0: none
  std::int64_t duration_ms = 0;  // from start to the end of the last process
  std::int64_t killed = 0;       // processes that had to be killed after it ended
  std::string detail;            // of kRankFrozen and kLinkLost, for people; no quotes
};

absl::Status WriteSupervisorRecord(const attempt::AttemptFolder& folder, const SupervisorRecord& record);
absl::Status WriteSupervisorExit(const attempt::AttemptFolder& folder, const SupervisorExit& exit);
// NOT_FOUND while there is none.
absl::StatusOr<SupervisorRecord> ReadSupervisorRecord(const attempt::AttemptFolder& folder);
absl::StatusOr<SupervisorExit> ReadSupervisorExit(const attempt::AttemptFolder& folder);

}  // namespace entrain::launcher
