#include "worker/launcher/renewal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/files.h"

namespace entrain::launcher {
namespace {

std::string RenewalPath(const std::string& folder) { return folder + "/daemon-alive"; }

}  // namespace

absl::Status RenewGang(const std::string& folder) {
  const std::string path = RenewalPath(folder);
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (descriptor < 0) return ErrnoStatus(errno, "open", path);
  const int result = ::futimens(descriptor, nullptr);
  const int error = errno;
  ::close(descriptor);
  return result == 0 ? absl::OkStatus() : ErrnoStatus(error, "touch", path);
}

std::int64_t RenewalStampNs(const std::string& folder) {
  struct stat info {};
  if (::stat(RenewalPath(folder).c_str(), &info) != 0) return 0;
  return static_cast<std::int64_t>(info.st_mtim.tv_sec) * 1'000'000'000 + info.st_mtim.tv_nsec;
}

}  // namespace entrain::launcher
