#include "coordinator/rpc/audit_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "base/utc_text.h"

namespace entrain::rpc {
namespace {

constexpr std::size_t kMaxNotedBytes = 1 << 20;
constexpr std::size_t kMaxFieldBytes = 1024;

// Every byte outside printable ASCII is written as \u00XX, so that a line is one line and valid JSON whatever a client sent.
void AppendField(std::string* line, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  StrAppend(line, ",\"", name, "\":\"");
  for (const char c : value.substr(0, kMaxFieldBytes)) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      *line += '\\';
      *line += c;
    } else if (byte < 0x20 || byte > 0x7e) {
      char escaped[8];
      std::snprintf(escaped, sizeof(escaped), "\\u%04x", byte);
      *line += escaped;
    } else {
      *line += c;
    }
  }
  *line += '"';
}

}  // namespace

std::string AuditLine(const AuditEntry& entry) {
  std::string line = StrCat("{\"time\":\"", UtcText(entry.wall_ms), "\"");
  AppendField(&line, "action", entry.action);
  AppendField(&line, "target", entry.target);
  AppendField(&line, "outcome", entry.outcome);
  AppendField(&line, "who", entry.who);
  AppendField(&line, "role", entry.role);
  AppendField(&line, "token", entry.token);
  AppendField(&line, "peer", entry.peer);
  AppendField(&line, "detail", entry.detail);
  return line + "}\n";
}

absl::StatusOr<std::unique_ptr<AuditLog>> AuditLog::Open(const std::string& path) {
  std::unique_ptr<AuditLog> log(new AuditLog(path));
  ENTRAIN_RETURN_IF_ERROR(log->OpenFile());
  return log;
}

AuditLog::~AuditLog() {
  Flush().IgnoreError();
  if (fd_ >= 0) ::close(fd_);
}

absl::Status AuditLog::OpenFile() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (fd_ < 0) return ErrnoStatus(errno, "open", path_);
  const std::size_t slash = path_.rfind('/');
  return SyncPath(slash == std::string::npos ? "." : slash == 0 ? "/" : path_.substr(0, slash));
}

absl::Status AuditLog::Append(const AuditEntry& entry) {
  std::unique_lock<std::mutex> lock(mutex_);
  pending_ += AuditLine(entry);
  return AwaitSynced(&lock, ++appended_);
}

void AuditLog::Note(const AuditEntry& entry) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (pending_.size() > kMaxNotedBytes) {
    ++dropped_;
    return;
  }
  pending_ += AuditLine(entry);
  ++appended_;
}

absl::Status AuditLog::Flush() {
  std::unique_lock<std::mutex> lock(mutex_);
  return AwaitSynced(&lock, appended_);
}

absl::Status AuditLog::AwaitSynced(std::unique_lock<std::mutex>* lock, std::uint64_t line) {
  while (synced_ < line) {
    if (writing_) {
      changed_.wait(*lock);
      continue;
    }
    writing_ = true;
    std::string bytes = std::move(pending_);
    pending_.clear();
    if (dropped_ > 0) bytes += AuditLine({0, "", "", "", "", "dropped", "", "", StrCat(dropped_, " lines")});
    dropped_ = 0;
    const std::uint64_t through = appended_;
    lock->unlock();
    absl::Status status = Write(bytes);
    lock->lock();
    broken_ = std::move(status);
    synced_ = through;
    writing_ = false;
    changed_.notify_all();
  }
  return broken_;
}

absl::Status AuditLog::Write(const std::string& bytes) {
  struct stat named {}, opened {};
  const bool same = ::stat(path_.c_str(), &named) == 0 && ::fstat(fd_, &opened) == 0 && named.st_ino == opened.st_ino && named.st_dev == opened.st_dev;
  if (!same) ENTRAIN_RETURN_IF_ERROR(OpenFile());
  for (std::size_t at = 0; at < bytes.size();) {
    const ssize_t wrote = ::write(fd_, bytes.data() + at, bytes.size() - at);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return ErrnoStatus(errno, "write", path_);
    at += static_cast<std::size_t>(wrote);
  }
  if (::fdatasync(fd_) != 0) return ErrnoStatus(errno, "fsync", path_);
  return absl::OkStatus();
}

}  // namespace entrain::rpc
