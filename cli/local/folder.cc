#include "cli/local/folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <utility>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::cli::local {
namespace {

constexpr char kLockName[] = "local.lock";
constexpr char kAddressName[] = "coordinator.address";

std::string FirstLine(const std::string& text) { return text.substr(0, text.find('\n')); }

}  // namespace

absl::StatusOr<Folder> Folder::Open(const std::string& root) {
  ENTRAIN_RETURN_IF_ERROR(MakeFolders(root));
  std::error_code error;
  const std::string absolute = std::filesystem::canonical(root, error).string();
  if (error) return ErrnoStatus(error.value(), "open", root);
  const std::string path = absolute + "/" + kLockName;
  const int lock = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock < 0) return ErrnoStatus(errno, "open", path);
  if (::flock(lock, LOCK_EX | LOCK_NB) != 0) {
    const absl::StatusOr<std::string> holder = ReadFile(path);
    ::close(lock);
    return absl::FailedPreconditionError(
        StrCat("another `entrain local`", holder.ok() && !holder->empty() ? StrCat(" (process ", FirstLine(*holder), ")") : "",
               " works in ", absolute, "; wait for it, end it with Ctrl-C, or give this one a folder of its own with --dir"));
  }
  const std::string pid = StrCat(::getpid(), "\n");
  if (::ftruncate(lock, 0) != 0 || ::pwrite(lock, pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    const absl::Status status = ErrnoStatus(errno, "write", path);
    ::close(lock);
    return status;
  }
  return Folder(absolute, lock);
}

Folder::Folder(Folder&& other) noexcept : root_(std::move(other.root_)), lock_(std::exchange(other.lock_, -1)) {}

Folder::~Folder() {
  if (lock_ < 0) return;
  ::unlink(Path(kAddressName).c_str());
  ::close(lock_);
}

std::string RunningCoordinator(const std::string& root) {
  const int lock = ::open((root + "/" + kLockName).c_str(), O_RDONLY | O_CLOEXEC);
  if (lock < 0) return "";
  const bool free = ::flock(lock, LOCK_SH | LOCK_NB) == 0;
  ::close(lock);
  if (free) return "";
  const absl::StatusOr<std::string> address = ReadFile(root + "/" + kAddressName);
  return address.ok() ? FirstLine(*address) : "";
}

}  // namespace entrain::cli::local
