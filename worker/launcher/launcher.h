// Starts, finds and ends the gangs of this machine, and says how they ended. Thread-safe: there is no state but the folders.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "domain/fleet.h"
#include "worker/launcher/gang_command.h"
#include "worker/launcher/renewal.h"
#include "worker/launcher/runtime_folder.h"
#include "worker/launcher/supervisor_record.h"

namespace entrain::launcher {

struct LaunchOptions {
  ProgramPaths programs;
  std::int64_t daemon_absence_limit_ms = 600'000;
  std::int64_t grace_ms = 3'000;
  std::int64_t finished_grace_ms = 15'000;
  // Of SupervisorSettings, which says what they mean.
  std::int64_t heartbeat_timeout_ms = 10'000;
  std::int64_t link_timeout_ms = 15'000;
};

// Programs beside this one (`own_program`: its absolute path), mpirun from PATH; what is not found is empty.
ProgramPaths FindPrograms(const std::string& own_program, const std::string& search_path);

// Starts the attempt in `folder` (made by AttemptFolder::Create). Returns once its supervisor stands and is recorded. Harmless when
// it has one already; FAILED_PRECONDITION when it had one that ended.
absl::Status StartSupervisor(const std::string& folder, const LaunchOptions& options);

enum class GangState {
  kNotStarted,  // no supervisor ever stood
  kRunning,     // its supervisor is alive
  kEnded,       // the supervisor ended the gang and said how, or died (and with it the gang)
};
absl::StatusOr<GangState> FindSupervisor(const std::string& folder);

// Ends every process of the gang and returns when none is left: SIGTERM, and SIGKILL after `grace_ms`; 0 kills at once. INTERNAL
// names the processes that even SIGKILL did not end within 10 s.
absl::Status KillGang(const std::string& folder, std::int64_t grace_ms);

// What the event stream tells about the way up to the end.
struct Progress {
  bool ready = false;          // a GangReady was read
  std::int64_t last_step = 0;  // of the last sample, or where the attempt resumed
};
// Reads the whole stream that is still on disk.
Progress ReadProgress(const std::string& folder);

// How the attempt ended; call when FindSupervisor says kEnded (a dead supervisor's gang is killed first). The ranks' own records go
// first, then what the supervisor saw. `progress` comes from whoever read the events.
domain::AttemptEnd CollectEnd(const std::string& folder, const Progress& progress);

}  // namespace entrain::launcher
