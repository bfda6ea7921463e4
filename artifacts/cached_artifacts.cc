#include "artifacts/cached_artifacts.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <utility>
#include <vector>

#include "artifacts/incoming_folder.h"
#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::artifacts {
namespace {

namespace fs = std::filesystem;

// Datasets handed out most recently that are kept although no attempt is known to read them yet.
constexpr std::size_t kMaxGiven = 8;

struct CachedDataset {
  fs::file_time_type used;
  fs::path path;
  std::int64_t bytes = 0;
};

// By the time of use, the oldest first; unfinished fetches too.
std::vector<CachedDataset> ListCache(const std::string& dir) {
  std::vector<CachedDataset> found;
  std::error_code error;
  for (fs::directory_iterator entry(dir, error), end; !error && entry != end; entry.increment(error)) {
    CachedDataset dataset;
    std::error_code gone;
    dataset.path = entry->path();
    dataset.used = fs::last_write_time(dataset.path, gone);
    for (const FolderFile& file : ListPlainFiles(dataset.path.string()).value_or(std::vector<FolderFile>())) dataset.bytes += file.bytes;
    found.push_back(std::move(dataset));
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.used < b.used; });
  return found;
}

}  // namespace

CachedArtifacts::CachedArtifacts(std::unique_ptr<ArtifactStore> store, std::string dir, std::int64_t max_bytes, CacheSource source)
    : store_(std::move(store)), dir_(std::move(dir)), max_bytes_(max_bytes), source_(std::move(source)) {}

absl::StatusOr<std::string> CachedArtifacts::ResolveDataset(std::string_view hash) const {
  absl::StatusOr<std::string> shared = store_->ResolveDataset(hash);
  if (!absl::IsNotFound(shared.status())) return shared;
  const std::string name(hash);
  if (!IsDatasetHash(name)) return shared;
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::string path = StrCat(dir_, "/", name);
  std::error_code error;
  if (!fs::exists(path, error)) {
    const absl::StatusOr<std::int64_t> bytes = source_.size(name);
    if (absl::IsNotFound(bytes.status())) return shared;
    ENTRAIN_RETURN_IF_ERROR(bytes.status());
    ENTRAIN_RETURN_IF_ERROR(MakeFolders(dir_));
    ENTRAIN_RETURN_IF_ERROR(MakeRoom(*bytes));
    ENTRAIN_RETURN_IF_ERROR(source_.fetch(name, dir_));
  }
  // Used now.
  ::utimensat(AT_FDCWD, path.c_str(), nullptr, 0);
  if (given_.size() >= kMaxGiven) given_.clear();
  given_.insert(path);
  return path;
}

absl::Status CachedArtifacts::MakeRoom(std::int64_t wanted_bytes) const {
  std::vector<CachedDataset> cached = ListCache(dir_);
  std::int64_t bytes = wanted_bytes;
  for (const CachedDataset& dataset : cached) bytes += dataset.bytes;
  const std::set<std::string> in_use = source_.in_use();
  for (const CachedDataset& dataset : cached) {
    if (bytes <= max_bytes_) break;
    if (in_use.contains(dataset.path.string()) || given_.contains(dataset.path.string())) continue;
    std::error_code error;
    fs::remove_all(dataset.path, error);
    if (error) return ErrnoStatus(error.value(), "remove", dataset.path.string());
    bytes -= dataset.bytes;
  }
  if (bytes <= max_bytes_) return absl::OkStatus();
  return absl::ResourceExhaustedError(StrCat("the dataset cache ", dir_, " may hold ", max_bytes_, " bytes; the dataset has ", wanted_bytes,
                                             ", others in use ", bytes - wanted_bytes));
}

}  // namespace entrain::artifacts
