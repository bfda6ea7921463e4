// Who did what: JSON lines, one an action, on disk before the action is acknowledged. Thread-safe. Rotation: rename the file; the next line
// goes to a new one under the old name.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace entrain::rpc {

struct AuditEntry {
  std::int64_t wall_ms = 0;
  std::string who;      // a person's or worker's name; "local" for a process of this machine; empty: nobody that is known
  std::string role;     // "view", "submit", "admin", "worker", or empty
  std::string token;    // the token's id, never its secret
  std::string peer;     // where the call came from, where that is known
  std::string action;   // "submit", "stop", "register", "refused", ...
  std::string target;   // a sweep, run, worker, token or method
  std::string outcome;  // "ok" or a status code's name
  std::string detail;
};

// One line with its newline; bytes that are no UTF-8 text come out as \u00XX.
std::string AuditLine(const AuditEntry& entry);

class AuditLog {
 public:
  static absl::StatusOr<std::unique_ptr<AuditLog>> Open(const std::string& path);
  ~AuditLog();

  // Returns once the line is on disk; those that wait at the same time share one fsync.
  absl::Status Append(const AuditEntry& entry);
  // For what changes nothing: goes out with the next Append or Flush; what does not fit into the memory set aside is dropped and counted.
  void Note(const AuditEntry& entry);
  absl::Status Flush();

 private:
  explicit AuditLog(std::string path) : path_(std::move(path)) {}
  absl::Status AwaitSynced(std::unique_lock<std::mutex>* lock, std::uint64_t line);
  // By one thread at a time.
  absl::Status Write(const std::string& bytes);
  absl::Status OpenFile();

  const std::string path_;
  int fd_ = -1;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string pending_;
  std::uint64_t appended_ = 0;  // lines
  std::uint64_t synced_ = 0;
  std::uint64_t dropped_ = 0;
  bool writing_ = false;
  absl::Status broken_;  // of the newest write
};

}  // namespace entrain::rpc
