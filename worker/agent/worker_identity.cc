#include "worker/agent/worker_identity.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::agent {
namespace {

constexpr int kIdLength = 12;

absl::StatusOr<std::string> ReadOrMakeId(const std::string& path, IdSource* ids) {
  absl::StatusOr<std::string> text = ReadFile(path);
  if (text.ok()) {
    while (!text->empty() && text->back() == '\n') text->pop_back();
    if (text->empty()) return absl::DataLossError(StrCat(path, " is empty; delete it to join as a new worker"));
    return text;
  }
  if (!absl::IsNotFound(text.status())) return text.status();
  const std::string id = ids->Next(kIdLength);
  ENTRAIN_RETURN_IF_ERROR(WriteFileAtomically(path, id + "\n"));
  return id;
}

absl::StatusOr<std::uint64_t> CountStart(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok() && !absl::IsNotFound(text.status())) return text.status();
  const std::uint64_t starts = 1 + (text.ok() ? std::strtoull(text->c_str(), nullptr, 10) : 0);
  ENTRAIN_RETURN_IF_ERROR(WriteFileAtomically(path, StrCat(starts, "\n")));
  return starts;
}

}  // namespace

absl::StatusOr<std::unique_ptr<WorkerIdentity>> WorkerIdentity::Open(const std::string& folder, IdSource* ids) {
  ENTRAIN_RETURN_IF_ERROR(MakeFolders(folder + "/attempts"));
  std::unique_ptr<WorkerIdentity> identity(new WorkerIdentity());
  const std::string lock = folder + "/lock";
  identity->lock_fd_ = ::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (identity->lock_fd_ < 0) return ErrnoStatus(errno, "open", lock);
  if (::flock(identity->lock_fd_, LOCK_EX | LOCK_NB) != 0) {
    return absl::UnavailableError(StrCat(folder, " is in use by another entrain-worker"));
  }
  ENTRAIN_ASSIGN_OR_RETURN(const std::string id, ReadOrMakeId(folder + "/worker-id", ids));
  identity->id_ = WorkerId(id);
  ENTRAIN_ASSIGN_OR_RETURN(identity->starts_, CountStart(folder + "/starts"));
  return identity;
}

WorkerIdentity::~WorkerIdentity() {
  if (lock_fd_ >= 0) ::close(lock_fd_);
}

}  // namespace entrain::agent
