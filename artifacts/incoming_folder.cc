#include "artifacts/incoming_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>
#include <utility>

#include "artifacts/artifact_store.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::artifacts {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kHashDigits = 32;
constexpr std::size_t kHashReadBytes = 4 << 20;

std::string IncomingDir(const FolderPlace& place) { return StrCat(place.parent, "/.incoming-", place.name); }

bool IsPlainName(const std::string& name) {
  return !name.empty() && name.size() < 200 && name.front() != '.' && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

absl::Status CheckAnnounced(const FolderPlace& place, const std::vector<FolderFile>& files) {
  std::set<std::string> names;
  for (const FolderFile& file : files) {
    if (!IsPlainName(file.name)) return absl::InvalidArgumentError(StrCat("\"", file.name, "\" is no plain file name"));
    if (file.bytes < 0) return absl::InvalidArgumentError(StrCat(file.name, ": impossible size ", file.bytes));
    if (!names.insert(file.name).second) return absl::InvalidArgumentError(StrCat(file.name, " is announced twice"));
  }
  if (!names.contains(place.manifest)) return absl::InvalidArgumentError(StrCat(place.what, " comes without ", place.manifest));
  return absl::OkStatus();
}

absl::Status CheckRoom(const std::string& dir, const std::vector<FolderFile>& files) {
  std::uint64_t wanted = 0;
  for (const FolderFile& file : files) wanted += static_cast<std::uint64_t>(file.bytes);
  for (const FolderFile& there : ListPlainFiles(dir).value_or(std::vector<FolderFile>())) {
    wanted -= std::min(wanted, static_cast<std::uint64_t>(there.bytes));
  }
  const absl::StatusOr<std::uint64_t> room = FreeBytes(dir);
  if (!room.ok() || *room >= wanted) return room.status();
  return absl::ResourceExhaustedError(StrCat(dir, ": ", wanted, " bytes are to come, ", *room, " are free"));
}

}  // namespace

bool IsDatasetHash(std::string_view hash) {
  return hash.size() == kHashDigits &&
         std::all_of(hash.begin(), hash.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

absl::StatusOr<std::vector<FolderFile>> ListPlainFiles(const std::string& dir) {
  std::vector<FolderFile> files;
  std::error_code error;
  for (fs::directory_iterator entry(dir, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code gone;
    if (entry->is_symlink(gone) || !entry->is_regular_file(gone)) {
      return absl::InvalidArgumentError(StrCat(entry->path().string(), " is no plain file"));
    }
    files.push_back({entry->path().filename().string(), static_cast<std::int64_t>(entry->file_size(gone)), ""});
  }
  if (error) return ErrnoStatus(error.value(), "list", dir);
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return files;
}

absl::Status HashFiles(const std::string& dir, std::vector<FolderFile>* files) {
  std::string buffer(kHashReadBytes, '\0');
  for (FolderFile& file : *files) {
    const std::string path = StrCat(dir, "/", file.name);
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return ErrnoStatus(errno, "open", path);
    Hasher hasher;
    ssize_t count = 0;
    while ((count = ::read(fd, buffer.data(), buffer.size())) > 0 || (count < 0 && errno == EINTR)) {
      if (count > 0) hasher.Update({buffer.data(), static_cast<std::size_t>(count)});
    }
    const int problem = errno;
    ::close(fd);
    if (count < 0) return ErrnoStatus(problem, "read", path);
    file.hash = hasher.Hex();
  }
  return absl::OkStatus();
}

absl::StatusOr<FolderPlace> DatasetPlace(const std::string& datasets_dir, const std::string& hash) {
  if (!IsDatasetHash(hash)) return absl::InvalidArgumentError(StrCat("\"", hash, "\" is no dataset's hash (32 hexadecimal digits)"));
  return FolderPlace{datasets_dir, datasets_dir, hash, StrCat("dataset ", hash), "dataset.json", StrCat("\"hash\": \"", hash, "\"")};
}

absl::StatusOr<FolderPlace> CheckpointPlace(const std::string& root, const domain::AttemptKey& key, std::int64_t step) {
  if (!IsPlainName(key.run.value())) return absl::InvalidArgumentError(StrCat("\"", key.run.value(), "\" is no run's name"));
  if (step < 0) return absl::InvalidArgumentError(StrCat("step ", step, " is negative"));
  const fs::path target = fs::path(root) / CheckpointPath(key, step);
  return FolderPlace{root, target.parent_path().string(), target.filename().string(),
                     StrCat("checkpoint ", key.ToString(), " of step ", step), "manifest.json", ""};
}

std::vector<FolderFile> ArrivedFiles(const FolderPlace& place) {
  return ListPlainFiles(IncomingDir(place)).value_or(std::vector<FolderFile>());
}

absl::StatusOr<std::unique_ptr<IncomingFolder>> IncomingFolder::Open(const FolderPlace& place, std::vector<FolderFile> files) {
  ENTRAIN_RETURN_IF_ERROR(CheckAnnounced(place, files));
  const std::string dir = IncomingDir(place);
  ENTRAIN_RETURN_IF_ERROR(MakeFolders(dir));
  const int lock = ::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock < 0) return ErrnoStatus(errno, "open", dir);
  if (::flock(lock, LOCK_EX | LOCK_NB) != 0) {
    ::close(lock);
    return absl::AbortedError(StrCat(place.what, " is being received already"));
  }
  std::unique_ptr<IncomingFolder> incoming(new IncomingFolder(place, std::move(files), lock));
  ENTRAIN_RETURN_IF_ERROR(incoming->TakeStock());
  ENTRAIN_RETURN_IF_ERROR(CheckRoom(dir, incoming->files_));
  return incoming;
}

IncomingFolder::IncomingFolder(const FolderPlace& place, std::vector<FolderFile> files, int lock)
    : place_(place), dir_(IncomingDir(place)), files_(std::move(files)), received_(files_.size(), 0), lock_(lock) {}

IncomingFolder::~IncomingFolder() {
  if (open_file_ >= 0) ::close(open_file_);
  ::close(lock_);
}

std::string IncomingFolder::PathOf(std::size_t file) const { return StrCat(dir_, "/", files_[file].name); }

// Drops what is not announced or longer than announced; the rest counts as far as it goes.
absl::Status IncomingFolder::TakeStock() {
  ENTRAIN_ASSIGN_OR_RETURN(const std::vector<FolderFile> there, ListPlainFiles(dir_));
  for (const FolderFile& old : there) {
    const auto announced = std::find_if(files_.begin(), files_.end(), [&](const FolderFile& file) { return file.name == old.name; });
    if (announced != files_.end() && old.bytes <= announced->bytes && !announced->hash.empty()) {
      received_[static_cast<std::size_t>(announced - files_.begin())] = old.bytes;
    } else if (::unlink(StrCat(dir_, "/", old.name).c_str()) != 0) {
      return ErrnoStatus(errno, "remove", StrCat(dir_, "/", old.name));
    }
  }
  return absl::OkStatus();
}

absl::Status IncomingFolder::Append(std::size_t file, std::int64_t offset, std::string_view bytes, std::uint64_t checksum) {
  if (file >= files_.size()) return absl::InvalidArgumentError(StrCat("file number ", file, " of ", files_.size()));
  const auto bad = [&](std::string_view what) {
    return absl::InvalidArgumentError(StrCat(files_[file].name, ": offset ", offset, ": ", what));
  };
  if (offset != received_[file]) return bad(StrCat(received_[file], " bytes have arrived"));
  if (static_cast<std::int64_t>(bytes.size()) > files_[file].bytes - offset) return bad(StrCat("more than the announced ", files_[file].bytes, " bytes"));
  if (Hash64(bytes) != checksum) return bad("damaged on the way: the bytes do not fit their checksum");
  if (open_file_ < 0 || open_index_ != file) {
    if (open_file_ >= 0) ::close(open_file_);
    open_file_ = ::open(PathOf(file).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (open_file_ < 0) return ErrnoStatus(errno, "create", PathOf(file));
    open_index_ = file;
  }
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(open_file_, bytes.data(), bytes.size(), received_[file]);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return ErrnoStatus(errno, "write", PathOf(file));
    bytes.remove_prefix(static_cast<std::size_t>(written));
    received_[file] += written;
  }
  return absl::OkStatus();
}

absl::Status IncomingFolder::CheckFile(std::size_t file) const {
  const FolderFile& announced = files_[file];
  if (received_[file] != announced.bytes) {
    return absl::InvalidArgumentError(
        StrCat(announced.name, ": offset ", received_[file], ": ended early, ", announced.bytes, " bytes were announced"));
  }
  if (announced.bytes == 0) ENTRAIN_RETURN_IF_ERROR(WriteFileAtomically(PathOf(file), ""));
  ENTRAIN_RETURN_IF_ERROR(SyncPath(PathOf(file)));
  if (announced.hash.empty()) return absl::OkStatus();
  std::vector<FolderFile> found = {announced};
  ENTRAIN_RETURN_IF_ERROR(HashFiles(dir_, &found));
  if (found[0].hash == announced.hash) return absl::OkStatus();
  ::unlink(PathOf(file).c_str());
  return absl::DataLossError(StrCat(announced.name, ": its content does not fit its hash ", announced.hash, "; it has to be sent again"));
}

absl::Status IncomingFolder::Complete() {
  for (std::size_t i = 0; i < files_.size(); ++i) ENTRAIN_RETURN_IF_ERROR(CheckFile(i));
  ENTRAIN_ASSIGN_OR_RETURN(const std::string manifest, ReadFile(StrCat(dir_, "/", place_.manifest)));
  if (manifest.find(place_.manifest_text) == std::string::npos) {
    return absl::InvalidArgumentError(StrCat(place_.manifest, " is not that of ", place_.what));
  }
  ENTRAIN_RETURN_IF_ERROR(SyncPath(dir_));
  const std::string target = place_.Target();
  std::error_code error;
  fs::rename(dir_, target, error);
  // Made by somebody else in between.
  if (error && !fs::exists(StrCat(target, "/", place_.manifest))) return ErrnoStatus(error.value(), "rename to", target);
  if (error) fs::remove_all(dir_, error);
  return SyncUpwards(place_.parent, place_.root);
}

}  // namespace entrain::artifacts
