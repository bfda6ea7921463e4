#include "coordinator/server/backup.h"

#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <sstream>
#include <system_error>

#include "base/build_id.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "base/utc_text.h"
#include "coordinator/store/store.h"

namespace entrain::server {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFirstLine = "entrain backup 1";
constexpr const char* kJournal = "coordinator.db";
constexpr const char* kSamples = "coordinator.samples.db";
constexpr const char* kOtherFiles[] = {"store-id", "audit.jsonl"};
constexpr std::size_t kReadBytes = 4 << 20;

std::string Join(const std::string& dir, std::string_view name) { return StrCat(dir, "/", name); }

struct FileEntry {
  std::string name;
  std::int64_t bytes = 0;
  std::string hash;
};

absl::StatusOr<FileEntry> Measure(const std::string& dir, const std::string& name) {
  FileEntry entry{name, 0, ""};
  const std::string path = Join(dir, name);
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (file == nullptr) return ErrnoStatus(errno, "open", path);
  Hasher hasher;
  std::string buffer(kReadBytes, '\0');
  for (std::size_t count = 0; (count = std::fread(buffer.data(), 1, buffer.size(), file)) > 0;) {
    hasher.Update({buffer.data(), count});
    entry.bytes += static_cast<std::int64_t>(count);
  }
  const bool failed = std::ferror(file) != 0;
  std::fclose(file);
  if (failed) return ErrnoStatus(EIO, "read", path);
  entry.hash = hasher.Hex();
  return entry;
}

std::string HashOf(std::string_view text) {
  Hasher hasher;
  hasher.Update(text);
  return hasher.Hex();
}

absl::Status CopyFile(const std::string& from, const std::string& to) {
  std::error_code error;
  fs::copy_file(from, to, fs::copy_options::overwrite_existing, error);
  if (error) return ErrnoStatus(error.value(), "copy", from);
  return SyncPath(to);
}

absl::Status CopyOthers(const std::string& from, const std::string& to) {
  std::error_code error;
  for (const char* name : kOtherFiles) {
    if (fs::exists(Join(from, name), error)) ENTRAIN_RETURN_IF_ERROR(CopyFile(Join(from, name), Join(to, name)));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::int64_t> WriteManifest(const std::string& dir, const Clock& clock) {
  std::string text = StrCat(kFirstLine, "\nbuild ", BuildId(), "\nwall_ms ", clock.WallMs(), "\n");
  std::int64_t bytes = 0;
  std::vector<std::string> names{kJournal, kSamples};
  std::error_code error;
  for (const char* name : kOtherFiles) {
    if (fs::exists(Join(dir, name), error)) names.push_back(name);
  }
  for (const std::string& name : names) {
    ENTRAIN_ASSIGN_OR_RETURN(const FileEntry entry, Measure(dir, name));
    StrAppend(&text, "file ", entry.name, " ", entry.bytes, " ", entry.hash, "\n");
    bytes += entry.bytes;
  }
  ENTRAIN_RETURN_IF_ERROR(WriteFileAtomically(Join(dir, "manifest"), StrCat(text, "end ", HashOf(text), "\n")));
  return bytes;
}

struct Manifest {
  std::int64_t wall_ms = 0;
  std::vector<FileEntry> files;
};

absl::StatusOr<Manifest> ReadManifest(const std::string& dir) {
  ENTRAIN_ASSIGN_OR_RETURN(const std::string text, ReadFile(Join(dir, "manifest")));
  const std::size_t end = text.rfind("end ");
  const auto broken = [&](std::string_view what) { return absl::DataLossError(StrCat(dir, "/manifest: ", what)); };
  if (!text.starts_with(kFirstLine)) return broken("not the manifest of a backup that this build knows");
  if (end == std::string::npos || text.substr(end) != StrCat("end ", HashOf(text.substr(0, end)), "\n")) return broken("damaged");
  Manifest manifest;
  std::istringstream lines(text.substr(0, end));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string kind;
    words >> kind;
    if (kind == "wall_ms") words >> manifest.wall_ms;
    if (kind != "file") continue;
    FileEntry& entry = manifest.files.emplace_back();
    words >> entry.name >> entry.bytes >> entry.hash;
    if (entry.name.empty() || entry.name.find('/') != std::string::npos) return broken("a file without a plain name");
  }
  return manifest;
}

absl::StatusOr<Manifest> CheckedManifest(const std::string& from) {
  ENTRAIN_ASSIGN_OR_RETURN(Manifest manifest, ReadManifest(from));
  for (const FileEntry& listed : manifest.files) {
    ENTRAIN_ASSIGN_OR_RETURN(const FileEntry found, Measure(from, listed.name));
    if (found.bytes == listed.bytes && found.hash == listed.hash) continue;
    return absl::DataLossError(StrCat(from, "/", listed.name, " is not as the backup's manifest says: ", found.bytes, " bytes, ", found.hash, " instead of ",
                                      listed.bytes, ", ", listed.hash));
  }
  return manifest;
}

std::string MarkFile(const std::string& data_dir) { return Join(data_dir, "restored"); }
std::string RequestFile(const std::string& data_dir) { return Join(data_dir, "backup-request"); }
std::string AnswerFile(const std::string& data_dir) { return Join(data_dir, "backup-answer"); }

void Unlink(const std::string& path) {
  std::error_code error;
  fs::remove(path, error);
}

}  // namespace

absl::StatusOr<std::int64_t> WriteBackup(const BackupParts& parts, const std::string& to) {
  std::error_code error;
  if (fs::exists(to, error)) return absl::AlreadyExistsError(StrCat(to, " is there already"));
  // Of an earlier try.
  const std::string partial = to + ".partial";
  fs::remove_all(partial, error);
  ENTRAIN_RETURN_IF_ERROR(MakeFolders(partial));
  // The journal first: samples may be newer, never older.
  ENTRAIN_RETURN_IF_ERROR(parts.copy_journal(Join(partial, kJournal)));
  ENTRAIN_RETURN_IF_ERROR(parts.copy_samples(Join(partial, kSamples)));
  ENTRAIN_RETURN_IF_ERROR(SyncPath(Join(partial, kJournal)));
  ENTRAIN_RETURN_IF_ERROR(SyncPath(Join(partial, kSamples)));
  ENTRAIN_RETURN_IF_ERROR(CopyOthers(parts.data_dir, partial));
  ENTRAIN_ASSIGN_OR_RETURN(const std::int64_t bytes, WriteManifest(partial, *parts.clock));
  ENTRAIN_RETURN_IF_ERROR(SyncPath(partial));
  fs::rename(partial, to, error);
  if (error) return ErrnoStatus(error.value(), "rename", to);
  ENTRAIN_RETURN_IF_ERROR(SyncPath(fs::absolute(to).parent_path().string()));
  return bytes;
}

absl::StatusOr<std::int64_t> BackUpStopped(const std::string& data_dir, const std::string& to, const Clock* clock) {
  std::error_code error;
  if (!fs::exists(Join(data_dir, kJournal), error)) return absl::NotFoundError(StrCat(data_dir, " holds no store"));
  ENTRAIN_ASSIGN_OR_RETURN(const std::unique_ptr<store::Store> store, store::OpenSqliteStore(Join(data_dir, kJournal)));
  const auto copy_journal = [&](const std::string& path) -> absl::Status {
    ENTRAIN_ASSIGN_OR_RETURN(const auto copy, store->BeginCopy(path));
    for (;;) {
      ENTRAIN_ASSIGN_OR_RETURN(const bool done, copy->Step());
      if (done) return absl::OkStatus();
    }
  };
  return WriteBackup({data_dir, copy_journal, [&](const std::string& path) { return store->CopySamples(path); }, clock}, to);
}

absl::Status CheckBackup(const std::string& from) { return CheckedManifest(from).status(); }

absl::Status RestoreBackup(const std::string& from, const std::string& data_dir) {
  ENTRAIN_ASSIGN_OR_RETURN(const Manifest manifest, CheckedManifest(from));
  std::error_code error;
  if (fs::exists(Join(data_dir, kJournal), error)) {
    return absl::AlreadyExistsError(StrCat(data_dir, " holds a store: move that folder away, or restore into another"));
  }
  ENTRAIN_RETURN_IF_ERROR(MakeFolders(data_dir));
  // The mark first and the journal last: without a journal nothing is a store, and none comes without its mark.
  ENTRAIN_RETURN_IF_ERROR(WriteFileAtomically(MarkFile(data_dir), StrCat("the store was restored from a backup of ", UtcText(manifest.wall_ms), "\n")));
  for (const char* left : {"coordinator.db-wal", "coordinator.db-shm", "coordinator.samples.db-wal", "coordinator.samples.db-shm"}) Unlink(Join(data_dir, left));
  for (const FileEntry& file : manifest.files) {
    if (file.name != kJournal) ENTRAIN_RETURN_IF_ERROR(CopyFile(Join(from, file.name), Join(data_dir, file.name)));
  }
  const std::string arriving = Join(data_dir, "coordinator.db.restoring");
  ENTRAIN_RETURN_IF_ERROR(CopyFile(Join(from, kJournal), arriving));
  ENTRAIN_RETURN_IF_ERROR(SyncPath(data_dir));
  fs::rename(arriving, Join(data_dir, kJournal), error);
  if (error) return ErrnoStatus(error.value(), "rename", arriving);
  return SyncPath(data_dir);
}

absl::StatusOr<std::string> RestoredMark(const std::string& data_dir) {
  absl::StatusOr<std::string> mark = ReadFile(MarkFile(data_dir));
  if (absl::IsNotFound(mark.status())) return std::string();
  if (mark.ok() && mark->ends_with('\n')) mark->pop_back();
  return mark;
}

absl::Status RemoveRestoredMark(const std::string& data_dir) {
  std::error_code error;
  if (!fs::exists(MarkFile(data_dir), error)) return absl::OkStatus();
  fs::remove(MarkFile(data_dir), error);
  return error ? ErrnoStatus(error.value(), "remove", MarkFile(data_dir)) : SyncPath(data_dir);
}

BackupDesk::~BackupDesk() {
  if (thread_.joinable()) thread_.join();
}

void BackupDesk::Look() {
  if (busy_ || ::access(RequestFile(data_dir_).c_str(), F_OK) != 0) return;
  if (thread_.joinable()) thread_.join();
  const absl::StatusOr<std::string> request = ReadFile(RequestFile(data_dir_));
  Unlink(RequestFile(data_dir_));
  if (!request.ok()) return;
  busy_ = true;
  thread_ = std::thread([this, text = *request] {
    const std::size_t line = text.find('\n');
    const std::string number = text.substr(0, line);
    const std::string to = text.substr(line + 1);
    const absl::StatusOr<std::int64_t> bytes = back_up_(to);
    Log(bytes.ok() ? LogLevel::kInfo : LogLevel::kError, "backup",
        {{"to", to}, {"bytes", StrCat(bytes.value_or(0))}, {"status", bytes.ok() ? "ok" : std::string(bytes.status().message())}});
    const std::string answer = bytes.ok() ? StrCat("ok ", *bytes) : StrCat("failed ", std::string(bytes.status().message()));
    WriteFileAtomically(AnswerFile(data_dir_), StrCat(number, "\n", answer)).IgnoreError();
    busy_ = false;
  });
}

absl::StatusOr<std::int64_t> AskForBackup(const std::string& data_dir, const std::string& to, const Clock& clock, std::int64_t patience_ms) {
  const std::string number = StrCat(::getpid(), "-", clock.BootNs());
  ENTRAIN_RETURN_IF_ERROR(WriteFileAtomically(RequestFile(data_dir), StrCat(number, "\n", fs::absolute(to).string())));
  const std::int64_t asked_ms = clock.BootMs();
  constexpr std::int64_t kLongestMs = 3'600'000;
  std::error_code error;
  for (bool taken = false;;) {
    taken = taken || !fs::exists(RequestFile(data_dir), error);
    const absl::StatusOr<std::string> answer = ReadFile(AnswerFile(data_dir));
    if (answer.ok() && answer->starts_with(number + "\n")) {
      const std::string text = answer->substr(number.size() + 1);
      Unlink(AnswerFile(data_dir));
      if (!text.starts_with("ok ")) return absl::InternalError(text.substr(text.find(' ') + 1));
      std::int64_t bytes = 0;
      std::from_chars(text.data() + 3, text.data() + text.size(), bytes);
      return bytes;
    }
    if (!taken && clock.BootMs() - asked_ms > patience_ms) {
      Unlink(RequestFile(data_dir));
      return absl::UnavailableError(StrCat("the coordinator of ", data_dir, " does not answer: does it run, with this data folder?"));
    }
    // It may have died over it.
    if (clock.BootMs() - asked_ms > kLongestMs) return absl::DeadlineExceededError(StrCat("the backup to ", to, " did not end within an hour"));
    ::usleep(50'000);
  }
}

}  // namespace entrain::server
