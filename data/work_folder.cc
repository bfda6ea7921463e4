#include "data/work_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <vector>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::data {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kWorkPrefix = ".preparing-";
// Unfinished work of other sources that is kept; what was touched longest ago goes first.
constexpr std::size_t kMaxAbandoned = 3;

void RemoveOldest(const std::string& root, const std::string& own) {
  std::vector<std::pair<fs::file_time_type, fs::path>> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(root, error)) {
    if (!entry.path().filename().string().starts_with(kWorkPrefix) || entry.path() == own) continue;
    std::error_code gone;
    found.emplace_back(fs::last_write_time(entry.path(), gone), entry.path());
  }
  std::sort(found.rbegin(), found.rend());
  for (std::size_t i = kMaxAbandoned; i < found.size(); ++i) {
    const int fd = ::open(found[i].second.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) continue;
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0) fs::remove_all(found[i].second, error);
    ::close(fd);
  }
}

// Whether the locked folder still has its name: its last owner may have published or removed it.
bool IsStillThere(int lock, const std::string& path) {
  struct stat locked {};
  struct stat named {};
  return ::fstat(lock, &locked) == 0 && ::stat(path.c_str(), &named) == 0 && locked.st_ino == named.st_ino &&
         locked.st_dev == named.st_dev;
}

}  // namespace

absl::StatusOr<WorkFolder> WorkFolder::Open(const std::string& root, const std::string& key) {
  ENTRAIN_RETURN_IF_ERROR(MakeFolders(root));
  const std::string path = StrCat(root, "/", kWorkPrefix, key);
  RemoveOldest(root, path);
  for (;;) {
    ENTRAIN_RETURN_IF_ERROR(MakeFolders(path));
    const int lock = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0 && errno == ENOENT) continue;
    if (lock < 0) return ErrnoStatus(errno, "open", path);
    while (::flock(lock, LOCK_EX) != 0 && errno == EINTR) {
    }
    if (IsStillThere(lock, path)) return WorkFolder(path, lock);
    ::close(lock);
  }
}

WorkFolder::~WorkFolder() {
  if (lock_ < 0) return;
  std::error_code error;
  fs::remove_all(path_, error);
  ::close(lock_);
}

absl::Status WorkFolder::PublishAs(const std::string& target) {
  ENTRAIN_RETURN_IF_ERROR(SyncPath(path_));
  if (::rename(path_.c_str(), target.c_str()) != 0) return ErrnoStatus(errno, "rename to", target);
  ::close(std::exchange(lock_, -1));
  return SyncPath(fs::path(target).parent_path().string());
}

}  // namespace entrain::data
