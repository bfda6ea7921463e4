#include "worker/launcher/runtime_folder.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "base/files.h"
#include "base/strings.h"

namespace entrain::launcher {

absl::Status MakePrivateFolder(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0) return absl::OkStatus();
  if (errno != EEXIST) return ErrnoStatus(errno, "create folder", path);
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return ErrnoStatus(errno, "stat", path);
  if (!S_ISDIR(info.st_mode) || info.st_uid != ::geteuid() || (info.st_mode & 077) != 0) {
    return absl::PermissionDeniedError(StrCat(path, " exists and is not a folder of this user with mode 0700"));
  }
  return absl::OkStatus();
}

void RemoveRuntimeFolders(const RuntimePaths& runtime) {
  std::error_code ignored;
  std::filesystem::remove_all(runtime.temporary, ignored);
  std::filesystem::remove_all(runtime.shared_memory, ignored);
  std::filesystem::remove(runtime.control_socket, ignored);
}

}  // namespace entrain::launcher
