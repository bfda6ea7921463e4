#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include <unistd.h>

#include "artifacts/artifact_store.h"
#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::artifacts {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kCheckpoints = "checkpoints/";

absl::Status FsStatus(const std::error_code& error, std::string_view action, const fs::path& path) {
  return ErrnoStatus(error.value(), action, path.string());
}

// A hard link where both lie on one file system, else a copy. A published file is never written again, so sharing its blocks is safe.
absl::Status PlaceFile(const fs::path& from, const fs::path& to) {
  if (::link(from.c_str(), to.c_str()) == 0) return SyncPath(to.string());
  if (errno != EXDEV && errno != EPERM && errno != EMLINK && errno != ENOTSUP) return ErrnoStatus(errno, "link", to.string());
  std::error_code error;
  fs::copy_file(from, to, error);
  if (error) return FsStatus(error, "copy", to);
  return SyncPath(to.string());
}

absl::Status PlaceFolder(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::create_directories(to, error);
  if (error) return FsStatus(error, "create", to);
  for (fs::directory_iterator entry(from, error), end; !error && entry != end; entry.increment(error)) {
    const fs::path target = to / entry->path().filename();
    if (entry->is_symlink()) return absl::InvalidArgumentError(StrCat("a checkpoint holds a link: ", entry->path().string()));
    ENTRAIN_RETURN_IF_ERROR(entry->is_directory() ? PlaceFolder(entry->path(), target) : PlaceFile(entry->path(), target));
  }
  if (error) return FsStatus(error, "read folder", from);
  return SyncPath(to.string());
}

bool LiesInside(const fs::path& path, const fs::path& root) {
  const fs::path relative = path.lexically_relative(root);
  return !relative.empty() && *relative.begin() != "..";
}

class ArtifactFolder : public ArtifactStore {
 public:
  explicit ArtifactFolder(std::string root) : root_(std::move(root)) {}

  absl::StatusOr<std::string> PublishCheckpoint(const domain::AttemptKey& key, std::int64_t step,
                                                const std::string& local_dir) override {
    const std::string path = CheckpointPath(key, step);
    ENTRAIN_RETURN_IF_ERROR(CheckInnerPath(path));
    std::error_code error;
    if (!fs::is_directory(local_dir, error)) return absl::NotFoundError(StrCat("no checkpoint folder ", local_dir));
    const fs::path target = fs::path(root_) / path;
    // A name appears only by rename, so an existing one is complete.
    if (fs::exists(target, error)) return path;
    const fs::path staging = target.parent_path() / StrCat(".incoming-", target.filename().string());
    const absl::Status status = Publish(local_dir, staging, target);
    if (!status.ok()) {
      fs::remove_all(staging, error);
      return status;
    }
    return path;
  }

  absl::StatusOr<std::string> Resolve(std::string_view path) const override {
    ENTRAIN_RETURN_IF_ERROR(CheckInnerPath(path));
    std::error_code error;
    const fs::path found = fs::canonical(fs::path(root_) / path, error);
    if (error) return FsStatus(error, "open", fs::path(root_) / path);
    if (!LiesInside(found, root_)) {
      return absl::InvalidArgumentError(StrCat("artifact path ", path, " leaves the artifact root ", root_));
    }
    return found.string();
  }

  absl::Status RemoveCheckpoint(std::string_view path) override {
    ENTRAIN_RETURN_IF_ERROR(CheckInnerPath(path));
    if (path.substr(0, kCheckpoints.size()) != kCheckpoints) {
      return absl::InvalidArgumentError(StrCat("not a checkpoint: ", path));
    }
    std::error_code error;
    fs::remove_all(fs::path(root_) / path, error);
    return error ? FsStatus(error, "remove", fs::path(root_) / path) : absl::OkStatus();
  }

  const std::string& root() const override { return root_; }

 private:
  absl::Status Publish(const std::string& local_dir, const fs::path& staging, const fs::path& target) {
    std::error_code error;
    fs::remove_all(staging, error);
    ENTRAIN_RETURN_IF_ERROR(PlaceFolder(local_dir, staging));
    fs::rename(staging, target, error);
    // Another publisher of the same checkpoint may have been first.
    if (error && !fs::exists(target)) return FsStatus(error, "rename", target);
    if (error) fs::remove_all(staging, error);
    return SyncUpwards(target.parent_path().string(), root_);
  }

  const std::string root_;
};

}  // namespace

std::string DatasetPath(std::string_view hash) { return StrCat("datasets/", hash); }

std::string CheckpointPath(const domain::AttemptKey& key, std::int64_t step) {
  char name[32];
  std::snprintf(name, sizeof(name), "step-%08lld", static_cast<long long>(step));
  return StrCat(kCheckpoints, key.run.value(), "/", key.attempt, "/", std::string_view(name));
}

std::optional<CheckpointName> ParseCheckpointPath(std::string_view path) {
  const fs::path parts(path);
  if (std::distance(parts.begin(), parts.end()) != 4) return std::nullopt;
  const std::string run = std::next(parts.begin())->string(), attempt = std::next(parts.begin(), 2)->string();
  const std::string step = parts.filename().string();
  CheckpointName name{{RunId(run), 0}, 0};
  constexpr std::size_t kPrefix = 5;  // step-
  if (step.size() <= kPrefix) return std::nullopt;
  std::from_chars(attempt.data(), attempt.data() + attempt.size(), name.key.attempt);
  std::from_chars(step.data() + kPrefix, step.data() + step.size(), name.step);
  // Whatever was not read to its end comes out differently.
  if (!CheckInnerPath(path).ok() || CheckpointPath(name.key, name.step) != path) return std::nullopt;
  return name;
}

absl::StatusOr<std::int64_t> ArtifactStore::ReadVocabSize(std::string_view hash) const {
  ENTRAIN_ASSIGN_OR_RETURN(const std::string dir, ResolveDataset(hash));
  ENTRAIN_ASSIGN_OR_RETURN(const std::string text, ReadFile(dir + "/dataset.json"));
  // One whole number behind its key is all that is wanted here; the data room checks the file when it is trained on.
  constexpr std::string_view kKey = "\"vocab_size\"";
  for (std::size_t at = text.find(kKey); at != std::string::npos; at = text.find(kKey, at + 1)) {
    const std::size_t value = text.find_first_not_of(" \t\r\n:", at + kKey.size());
    std::int64_t vocab_size = 0;
    if (value == std::string::npos) break;
    const auto end = std::from_chars(text.data() + value, text.data() + text.size(), vocab_size);
    if (end.ec == std::errc() && vocab_size > 0) return vocab_size;
  }
  return absl::DataLossError(StrCat(dir, "/dataset.json names no vocabulary size"));
}

void ArtifactStore::TouchDataset(std::string_view hash) const {
  std::error_code error;
  fs::last_write_time(fs::path(root()) / DatasetPath(hash), fs::file_time_type::clock::now(), error);
}

absl::Status CheckInnerPath(std::string_view path) {
  if (path.empty()) return absl::InvalidArgumentError("artifact path is empty");
  std::size_t begin = 0;
  while (begin <= path.size()) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    if (part.empty() || part == "." || part == ".." || part.find('\0') != std::string_view::npos) {
      return absl::InvalidArgumentError(StrCat("artifact path \"", path, "\" is not relative to the artifact root and normal"));
    }
    begin = end + 1;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<ArtifactStore>> OpenArtifactFolder(const std::string& root) {
  ENTRAIN_RETURN_IF_ERROR(MakeFolders(StrCat(root, "/datasets")));
  ENTRAIN_RETURN_IF_ERROR(MakeFolders(StrCat(root, "/checkpoints")));
  std::error_code error;
  const fs::path canonical = fs::canonical(root, error);
  if (error) return FsStatus(error, "open", root);
  return std::make_unique<ArtifactFolder>(canonical.string());
}

}  // namespace entrain::artifacts
