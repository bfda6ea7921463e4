#include "coordinator/rpc/checkpoint_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "coordinator/rpc/limits.h"
#include "sweep/run_config_json.h"

namespace entrain::rpc {
namespace {

using SendPiece = std::function<bool(const v1::CheckpointPiece&)>;

// What a dataset may keep of its tokeniser.
constexpr const char* kDatasetFiles[] = {"dataset.json", "tokenizer.model", "tokenizer.json", "vocab.json", "merges.txt"};

class OpenFile {
 public:
  // Plain files only: what is published holds no links, so one that is there now was not published.
  explicit OpenFile(const std::string& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) {}
  ~OpenFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

absl::Status ReadPiece(int fd, const std::string& path, std::int64_t offset, std::int64_t bytes, std::string* data) {
  data->resize(static_cast<std::size_t>(bytes));
  std::int64_t done = 0;
  while (done < bytes) {
    const ssize_t count = ::pread(fd, data->data() + done, static_cast<std::size_t>(bytes - done), offset + done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoStatus(errno, "read", path);
    if (count == 0) return absl::DataLossError(StrCat(path, " became shorter while it was read"));
    done += count;
  }
  return absl::OkStatus();
}

absl::Status SendFile(const std::string& path, const std::string& name, const SendPiece& send) {
  const OpenFile file(path);
  if (file.get() < 0) return ErrnoStatus(errno, "open", path);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return ErrnoStatus(errno, "stat", path);
  if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError(StrCat(path, " is no plain file"));
  v1::CheckpointPiece piece;
  piece.set_file(name);
  piece.set_file_bytes(info.st_size);
  std::int64_t offset = 0;
  do {
    const std::int64_t bytes = std::min<std::int64_t>(kFilePieceBytes, info.st_size - offset);
    piece.set_offset(offset);
    ENTRAIN_RETURN_IF_ERROR(ReadPiece(file.get(), path, offset, bytes, piece.mutable_data()));
    if (!send(piece)) return absl::CancelledError("the caller left");
    offset += bytes;
  } while (offset < info.st_size);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> FilesToSend(const std::string& folder, const v1::FetchCheckpointRequest& request) {
  std::vector<std::string> names(request.files().begin(), request.files().end());
  if (request.files_size() > kMaxFilesPerFetch) {
    return absl::InvalidArgumentError(StrCat("files names ", request.files_size(), " files, more than ", kMaxFilesPerFetch));
  }
  for (const std::string& name : names) {
    ENTRAIN_RETURN_IF_ERROR(artifacts::CheckInnerPath(name));
    if (name.find('/') != std::string::npos) return absl::InvalidArgumentError(StrCat("files: \"", name, "\" is no file name"));
  }
  if (!names.empty()) return names;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  if (error) return ErrnoStatus(error.value(), "list", folder);
  std::sort(names.begin(), names.end());
  return names;
}

absl::Status SendTokenizer(const core::Run& run, const artifacts::ArtifactStore& store, const SendPiece& send) {
  ENTRAIN_ASSIGN_OR_RETURN(const domain::RunConfig config, sweep::ParseRunConfig(run.spec->config_json));
  const absl::StatusOr<std::string> folder = store.ResolveDataset(config.dataset.hash);
  // A dataset that was cleaned away takes nothing from the weights.
  if (absl::IsNotFound(folder.status())) return absl::OkStatus();
  ENTRAIN_RETURN_IF_ERROR(folder.status());
  for (const char* name : kDatasetFiles) {
    const absl::Status sent = SendFile(StrCat(*folder, "/", name), StrCat("dataset/", name), send);
    if (!sent.ok() && !absl::IsNotFound(sent)) return sent;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status SendCheckpoint(const core::Run& run, const v1::FetchCheckpointRequest& request, const artifacts::ArtifactStore& store,
                            const SendPiece& send) {
  const auto wanted = [&](const domain::Checkpoint& checkpoint) {
    return checkpoint.attempt == request.attempt() && checkpoint.step == request.step();
  };
  const auto found = std::find_if(run.checkpoints.begin(), run.checkpoints.end(), wanted);
  if (found == run.checkpoints.end()) {
    for (const core::RetiredCheckpoint& retired : run.retired) {
      if (wanted(retired.checkpoint)) {
        return absl::NotFoundError(StrCat("the checkpoint of run ", run.id.value(), " at step ", request.step(), " was deleted by retention: ", retired.reason));
      }
    }
    return absl::NotFoundError(StrCat("run ", run.id.value(), " has no checkpoint of attempt ", request.attempt(), " at step ", request.step()));
  }
  ENTRAIN_ASSIGN_OR_RETURN(const std::string folder, store.Resolve(found->path));
  ENTRAIN_ASSIGN_OR_RETURN(const std::vector<std::string> names, FilesToSend(folder, request));
  for (const std::string& name : names) ENTRAIN_RETURN_IF_ERROR(SendFile(StrCat(folder, "/", name), name, send));
  return request.tokenizer() ? SendTokenizer(run, store, send) : absl::OkStatus();
}

}  // namespace entrain::rpc
