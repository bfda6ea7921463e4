#include "artifacts/remote_artifacts.h"

#include <filesystem>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::artifacts {
namespace {

namespace fs = std::filesystem;

// Handed out most recently and kept although no attempt is known to read them yet.
constexpr std::size_t kMaxGivenCheckpoints = 16;

// The folders at the depth of <run>/<attempt>/<step>, unfinished ones too.
std::vector<fs::path> FetchedCheckpoints(const std::string& dir) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(dir + "/checkpoints", error), end; !error && entry != end; entry.increment(error)) {
    if (entry.depth() != 2) continue;
    found.push_back(entry->path());
    entry.disable_recursion_pending();
  }
  return found;
}

}  // namespace

absl::StatusOr<std::string> RemoteArtifacts::PublishCheckpoint(const domain::AttemptKey& key, std::int64_t step, const std::string& local_dir) {
  std::error_code error;
  if (!fs::is_directory(local_dir, error)) return absl::NotFoundError(StrCat("no checkpoint folder ", local_dir));
  ENTRAIN_RETURN_IF_ERROR(transfer_.push(key, step, local_dir));
  return CheckpointPath(key, step);
}

absl::StatusOr<std::string> RemoteArtifacts::Resolve(std::string_view path) const {
  const std::optional<CheckpointName> name = ParseCheckpointPath(path);
  if (!name) return absl::NotFoundError(StrCat(path, ": this worker was started without --artifacts, and only datasets and checkpoints travel"));
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::string target = StrCat(dir_, "/", path);
  std::error_code error;
  if (!fs::exists(target, error)) {
    DropUnused();
    ENTRAIN_RETURN_IF_ERROR(transfer_.fetch(name->key, name->step, dir_));
  }
  if (given_.size() >= kMaxGivenCheckpoints) given_.clear();
  given_.insert(target);
  return target;
}

void RemoteArtifacts::DropUnused() const {
  const std::set<std::string> in_use = transfer_.in_use();
  for (const fs::path& folder : FetchedCheckpoints(dir_)) {
    std::error_code ignored;
    if (!in_use.contains(folder.string()) && !given_.contains(folder.string())) fs::remove_all(folder, ignored);
  }
}

absl::Status RemoteArtifacts::RemoveCheckpoint(std::string_view path) {
  return absl::UnimplementedError(StrCat(path, " lies on the coordinator's machine"));
}

}  // namespace entrain::artifacts
