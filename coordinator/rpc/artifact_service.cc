#include "coordinator/rpc/artifact_service.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "base/files.h"
#include "base/hash.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "transport/grpc_status.h"

namespace entrain::rpc {
namespace {

constexpr std::size_t kChunkBytes = 1 << 20;
constexpr int kMaxAnnouncedFiles = 100'000;

// A name appears only by rename, so an existing one is complete.
bool IsComplete(const artifacts::FolderPlace& place) {
  std::error_code error;
  return std::filesystem::exists(place.Target(), error);
}

// A regular file, opened without waiting for the other end of a pipe.
absl::StatusOr<int> OpenRegular(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return ErrnoStatus(errno, "open", path);
  struct stat info {};
  if (::fstat(fd, &info) == 0 && S_ISREG(info.st_mode)) return fd;
  ::close(fd);
  return absl::InvalidArgumentError(StrCat(path, " is no regular file"));
}

}  // namespace

template <typename Message>
absl::StatusOr<artifacts::FolderPlace> ArtifactService::PlaceOf(const Message& message, const Caller& caller) const {
  if (!message.has_checkpoint()) {
    absl::StatusOr<artifacts::FolderPlace> place = artifacts::DatasetPlace(store_->root() + "/datasets", message.hash());
    return place.ok() ? place : absl::InvalidArgumentError(StrCat("hash: ", std::string(place.status().message())));
  }
  const v1::CheckpointName& name = message.checkpoint();
  const domain::AttemptKey key{RunId(name.run_id()), name.attempt()};
  // Checkpoints are of workers; a person without a worker's certificate brings datasets only.
  if (caller.kind == Caller::Kind::kPerson) return absl::PermissionDeniedError(StrCat("checkpoint: only a worker brings one; ", caller.name, " is none"));
  if (published_ != nullptr) ENTRAIN_RETURN_IF_ERROR(MayTouchAttempt(caller, *published_->Get(), key));
  ENTRAIN_RETURN_IF_ERROR(may_publish_(key));
  return artifacts::CheckpointPlace(store_->root(), key, name.step());
}

grpc::Status ArtifactService::FindFolder(grpc::ServerContext* call, const v1::FindFolderRequest* request,
                                         v1::FindFolderResponse* response) {
  const absl::StatusOr<artifacts::FolderPlace> place = PlaceOf(*request, CallerOf(call));
  if (!place.ok()) return transport::ToGrpc(place.status());
  response->set_complete(IsComplete(*place));
  if (response->complete() && !request->has_checkpoint()) store_->TouchDataset(request->hash());
  if (response->complete()) return grpc::Status::OK;
  for (const artifacts::FolderFile& file : artifacts::ArrivedFiles(*place)) {
    v1::ArtifactFile* arrived = response->add_arrived();
    arrived->set_name(file.name);
    arrived->set_bytes(file.bytes);
  }
  return grpc::Status::OK;
}

grpc::Status ArtifactService::PushFolder(grpc::ServerContext* call, grpc::ServerReader<v1::PushFolderRequest>* reader,
                                         v1::PushFolderResponse* response) {
  return transport::ToGrpc(Receive(call, reader, response));
}

absl::StatusOr<std::string> ArtifactService::Readable(grpc::ServerContext* call, const std::string& path) const {
  if (published_ != nullptr) ENTRAIN_RETURN_IF_ERROR(MayRead(CallerOf(call), *published_->Get(), path));
  return store_->Resolve(path);
}

absl::Status ArtifactService::Receive(grpc::ServerContext* call, grpc::ServerReader<v1::PushFolderRequest>* reader,
                                      v1::PushFolderResponse* response) const {
  std::unique_ptr<StreamPlaces::Place> place_held;
  if (access_ != nullptr) {
    ENTRAIN_ASSIGN_OR_RETURN(place_held, access_->Enter(call));
  }
  v1::PushFolderRequest message;
  // Whoever pushes has something to send: one that keeps its stream open and sends nothing is ended.
  const auto read = [&] {
    if (place_held == nullptr) return reader->Read(&message);
    const auto waiting = place_held->Wait();
    return reader->Read(&message);
  };
  if (!read() || !message.has_begin()) return absl::InvalidArgumentError("begin must come first");
  const v1::PushBegin begin = message.begin();
  ENTRAIN_ASSIGN_OR_RETURN(const artifacts::FolderPlace place, PlaceOf(begin, CallerOf(call)));
  if (begin.files_size() > kMaxAnnouncedFiles) return absl::InvalidArgumentError(StrCat("files: more than ", kMaxAnnouncedFiles));
  if (IsComplete(place)) {
    response->set_was_there(true);
    return absl::OkStatus();
  }
  std::vector<artifacts::FolderFile> files;
  for (const v1::ArtifactFile& file : begin.files()) {
    // Without one, what arrived before could not be trusted and nothing could be checked at the end.
    if (!artifacts::IsDatasetHash(file.hash())) return absl::InvalidArgumentError(StrCat("files: ", file.name(), " has no hash"));
    files.push_back({file.name(), file.bytes(), file.hash()});
  }
  ENTRAIN_ASSIGN_OR_RETURN(const auto incoming, artifacts::IncomingFolder::Open(place, std::move(files)));
  while (read()) {
    if (!message.has_chunk()) return absl::InvalidArgumentError("only chunks follow begin");
    const v1::FileChunk& chunk = message.chunk();
    ENTRAIN_RETURN_IF_ERROR(incoming->Append(chunk.file(), chunk.offset(), chunk.data(), chunk.checksum()));
  }
  return incoming->Complete();
}

grpc::Status ArtifactService::ListFiles(grpc::ServerContext* call, const v1::ListFilesRequest* request, v1::ListFilesResponse* response) {
  const absl::StatusOr<std::string> dir = Readable(call, request->path());
  if (!dir.ok()) return transport::ToGrpc(dir.status());
  const absl::StatusOr<std::vector<artifacts::FolderFile>> files = artifacts::ListPlainFiles(*dir);
  if (!files.ok()) return transport::ToGrpc(files.status());
  for (const artifacts::FolderFile& file : *files) {
    v1::ArtifactFile* listed = response->add_files();
    listed->set_name(file.name);
    listed->set_bytes(file.bytes);
  }
  return grpc::Status::OK;
}

grpc::Status ArtifactService::ReadFile(grpc::ServerContext* call, const v1::ReadFileRequest* request,
                                       grpc::ServerWriter<v1::FileChunk>* writer) {
  return transport::ToGrpc(Send(call, *request, writer));
}

absl::Status ArtifactService::Send(grpc::ServerContext* call, const v1::ReadFileRequest& request,
                                   grpc::ServerWriter<v1::FileChunk>* writer) const {
  std::unique_ptr<StreamPlaces::Place> place;
  if (access_ != nullptr) {
    ENTRAIN_ASSIGN_OR_RETURN(place, access_->Enter(call));
  }
  if (request.offset() < 0) return absl::InvalidArgumentError(StrCat("offset is negative: ", request.offset()));
  ENTRAIN_ASSIGN_OR_RETURN(const std::string path, Readable(call, request.path()));
  ENTRAIN_ASSIGN_OR_RETURN(const int fd, OpenRegular(path));
  absl::Status status;
  std::string data;
  for (std::int64_t offset = request.offset();;) {
    data.resize(kChunkBytes);
    const ssize_t count = ::pread(fd, data.data(), data.size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) status = ErrnoStatus(errno, "read", path);
    if (count <= 0) break;
    data.resize(static_cast<std::size_t>(count));
    v1::FileChunk chunk;
    chunk.set_offset(offset);
    chunk.set_checksum(Hash64(data));
    chunk.set_data(data);
    offset += count;
    const auto write = [&] {
      if (place == nullptr) return writer->Write(chunk);
      const auto waiting = place->Wait();
      return writer->Write(chunk);
    };
    // The reader is gone.
    if (!write()) break;
  }
  ::close(fd);
  return status;
}

}  // namespace entrain::rpc
