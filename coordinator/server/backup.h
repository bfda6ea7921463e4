// Backups of an SQLite store, and how one comes back.
//
//   backup/coordinator.db           the journal as of the backup's end
//   backup/coordinator.samples.db   samples and logs, of the same moment or a little later
//   backup/store-id, audit.jsonl    as far as they are there
//   backup/manifest                 size and hash of each; its last line is the hash of the lines before
//
// The folder appears under its name when it is complete. Samples may be newer than the journal, never older: a run that the journal calls
// finished has them all, and those of one that goes on are replaced by the next attempt's. See coordinator/core/on_restore.cc.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"

namespace entrain::server {

struct BackupParts {
  std::string data_dir;
  std::function<absl::Status(const std::string& path)> copy_journal;
  std::function<absl::Status(const std::string& path)> copy_samples;
  const Clock* clock = nullptr;
};

// ALREADY_EXISTS when there is something at `to`. Returns how many bytes it has.
absl::StatusOr<std::int64_t> WriteBackup(const BackupParts& parts, const std::string& to);
// A stopped coordinator's store. UNAVAILABLE while one has it open.
absl::StatusOr<std::int64_t> BackUpStopped(const std::string& data_dir, const std::string& to, const Clock* clock);

// Every file against the manifest; DATA_LOSS names the first that differs.
absl::Status CheckBackup(const std::string& from);
// Puts a checked backup into a data folder without a store, and the mark that the next start fences by. A kill on the way leaves a folder
// that no coordinator takes for a store, and saying it again finishes.
absl::Status RestoreBackup(const std::string& from, const std::string& data_dir);
// Why the store is to be fenced, from the mark; empty: it was not restored.
absl::StatusOr<std::string> RestoredMark(const std::string& data_dir);
absl::Status RemoveRestoredMark(const std::string& data_dir);

// The running coordinator's side of `entrain-coordinator backup`: a request is a file in its data folder, and so is the answer.
class BackupDesk {
 public:
  using BackUp = std::function<absl::StatusOr<std::int64_t>(const std::string& to)>;
  BackupDesk(std::string data_dir, BackUp back_up) : data_dir_(std::move(data_dir)), back_up_(std::move(back_up)) {}
  ~BackupDesk();
  // Starts what was asked for on a thread of its own; cheap when nothing was.
  void Look();

 private:
  const std::string data_dir_;
  const BackUp back_up_;
  std::atomic<bool> busy_ = false;
  std::thread thread_;
};
// The other side: asks and waits. UNAVAILABLE when nobody takes the request within `patience_ms`.
absl::StatusOr<std::int64_t> AskForBackup(const std::string& data_dir, const std::string& to, const Clock& clock, std::int64_t patience_ms);

}  // namespace entrain::server
