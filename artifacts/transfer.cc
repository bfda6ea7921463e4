#include "artifacts/transfer.h"

#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "artifacts/artifact_store.h"
#include "artifacts/incoming_folder.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "entrain/v1/artifact_service.grpc.pb.h"
#include "transport/grpc_status.h"

namespace entrain::artifacts {
namespace {

constexpr std::size_t kChunkBytes = 1 << 20;

using Stub = v1::ArtifactService::Stub;

absl::StatusOr<v1::FindFolderResponse> Find(Stub* stub, const v1::FindFolderRequest& request) {
  grpc::ClientContext context;
  v1::FindFolderResponse response;
  ENTRAIN_RETURN_IF_ERROR(transport::FromGrpc(stub->FindFolder(&context, request, &response)));
  return response;
}

v1::FindFolderRequest NameOf(const std::string& hash) {
  v1::FindFolderRequest name;
  name.set_hash(hash);
  return name;
}

v1::FindFolderRequest NameOf(const domain::AttemptKey& key, std::int64_t step) {
  v1::FindFolderRequest name;
  name.mutable_checkpoint()->set_run_id(key.run.value());
  name.mutable_checkpoint()->set_attempt(key.attempt);
  name.mutable_checkpoint()->set_step(step);
  return name;
}

absl::StatusOr<std::vector<FolderFile>> List(Stub* stub, const std::string& path) {
  grpc::ClientContext context;
  v1::ListFilesRequest request;
  request.set_path(path);
  v1::ListFilesResponse response;
  ENTRAIN_RETURN_IF_ERROR(transport::FromGrpc(stub->ListFiles(&context, request, &response)));
  std::vector<FolderFile> files;
  for (const v1::ArtifactFile& file : response.files()) files.push_back({file.name(), file.bytes(), ""});
  return files;
}

std::int64_t TotalBytes(const std::vector<FolderFile>& files) {
  std::int64_t bytes = 0;
  for (const FolderFile& file : files) bytes += file.bytes;
  return bytes;
}

// One upload's stream.
class Upload {
 public:
  Upload(Stub* stub, const std::string& dir, std::vector<FolderFile> files, const OnTransfer& on_transfer)
      : dir_(dir), files_(std::move(files)), on_transfer_(on_transfer), writer_(stub->PushFolder(&context_, &response_)) {
    progress_.total_bytes = TotalBytes(files_);
  }

  absl::StatusOr<bool> Run(const v1::FindFolderRequest& name, const std::map<std::string, std::int64_t>& arrived) {
    const absl::Status sent = Send(name, arrived);
    // A stream that the other side ended says why when it is finished; a problem on this side comes first.
    if (!sent.ok() && !absl::IsUnavailable(sent)) {
      context_.TryCancel();
      writer_->Finish();
      return sent;
    }
    writer_->WritesDone();
    ENTRAIN_RETURN_IF_ERROR(transport::FromGrpc(writer_->Finish()));
    ENTRAIN_RETURN_IF_ERROR(sent);
    return response_.was_there();
  }

 private:
  absl::Status Send(const v1::FindFolderRequest& name, const std::map<std::string, std::int64_t>& arrived) {
    v1::PushFolderRequest begin;
    if (name.has_checkpoint()) {
      *begin.mutable_begin()->mutable_checkpoint() = name.checkpoint();
    } else {
      begin.mutable_begin()->set_hash(name.hash());
    }
    for (const FolderFile& file : files_) {
      v1::ArtifactFile* announced = begin.mutable_begin()->add_files();
      announced->set_name(file.name);
      announced->set_bytes(file.bytes);
      announced->set_hash(file.hash);
    }
    if (!writer_->Write(begin)) return absl::UnavailableError("the upload was ended");
    for (std::size_t i = 0; i < files_.size(); ++i) {
      const auto there = arrived.find(files_[i].name);
      const std::int64_t from = there == arrived.end() || there->second > files_[i].bytes ? 0 : there->second;
      progress_.bytes += from;
      ENTRAIN_RETURN_IF_ERROR(SendFile(i, from));
    }
    return absl::OkStatus();
  }

  absl::Status SendFile(std::size_t index, std::int64_t offset) {
    const std::string path = StrCat(dir_, "/", files_[index].name);
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return ErrnoStatus(errno, "open", path);
    absl::Status status;
    std::string data;
    while (status.ok() && offset < files_[index].bytes) {
      data.resize(kChunkBytes);
      const ssize_t count = ::pread(fd, data.data(), data.size(), offset);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) status = ErrnoStatus(errno, "read", path);
      if (count == 0) status = absl::AbortedError(StrCat(path, ": offset ", offset, ": the file became shorter"));
      if (count <= 0) break;
      data.resize(static_cast<std::size_t>(count));
      v1::PushFolderRequest request;
      v1::FileChunk* chunk = request.mutable_chunk();
      chunk->set_file(static_cast<std::uint32_t>(index));
      chunk->set_offset(offset);
      chunk->set_checksum(Hash64(data));
      chunk->set_data(std::move(data));
      if (!writer_->Write(request)) status = absl::UnavailableError("the upload was ended");
      offset += count;
      progress_.bytes += count;
      if (on_transfer_) on_transfer_(progress_);
    }
    ::close(fd);
    return status;
  }

  const std::string& dir_;
  const std::vector<FolderFile> files_;
  const OnTransfer& on_transfer_;
  TransferProgress progress_;
  grpc::ClientContext context_;
  v1::PushFolderResponse response_;
  const std::unique_ptr<grpc::ClientWriter<v1::PushFolderRequest>> writer_;
};

absl::Status FetchFile(Stub* stub, const std::string& path, std::size_t index, IncomingFolder* incoming, TransferProgress* progress,
                       const OnTransfer& on_transfer) {
  grpc::ClientContext context;
  v1::ReadFileRequest request;
  request.set_path(StrCat(path, "/", incoming->files()[index].name));
  request.set_offset(incoming->Received(index));
  const auto reader = stub->ReadFile(&context, request);
  absl::Status status;
  v1::FileChunk chunk;
  while (status.ok() && reader->Read(&chunk)) {
    status = incoming->Append(index, chunk.offset(), chunk.data(), chunk.checksum());
    progress->bytes += static_cast<std::int64_t>(chunk.data().size());
    if (on_transfer) on_transfer(*progress);
  }
  if (!status.ok()) context.TryCancel();
  const absl::Status ended = transport::FromGrpc(reader->Finish());
  return status.ok() ? ended : status;
}

absl::StatusOr<bool> Push(const std::shared_ptr<grpc::Channel>& channel, const v1::FindFolderRequest& name, const std::string& dir,
                          const OnTransfer& on_transfer) {
  const auto stub = v1::ArtifactService::NewStub(channel);
  ENTRAIN_ASSIGN_OR_RETURN(const v1::FindFolderResponse found, Find(stub.get(), name));
  if (found.complete()) return true;
  ENTRAIN_ASSIGN_OR_RETURN(std::vector<FolderFile> files, ListPlainFiles(dir));
  ENTRAIN_RETURN_IF_ERROR(HashFiles(dir, &files));
  std::map<std::string, std::int64_t> arrived;
  for (const v1::ArtifactFile& file : found.arrived()) arrived[file.name()] = file.bytes();
  return Upload(stub.get(), dir, std::move(files), on_transfer).Run(name, arrived);
}

absl::Status Fetch(const std::shared_ptr<grpc::Channel>& channel, const std::string& path, const FolderPlace& place,
                   const OnTransfer& on_transfer) {
  const auto stub = v1::ArtifactService::NewStub(channel);
  ENTRAIN_ASSIGN_OR_RETURN(std::vector<FolderFile> files, List(stub.get(), path));
  ENTRAIN_RETURN_IF_ERROR(MakeFolders(place.parent));
  TransferProgress progress{0, TotalBytes(files)};
  ENTRAIN_ASSIGN_OR_RETURN(const std::unique_ptr<IncomingFolder> incoming, IncomingFolder::Open(place, std::move(files)));
  for (std::size_t i = 0; i < incoming->files().size(); ++i) {
    ENTRAIN_RETURN_IF_ERROR(FetchFile(stub.get(), path, i, incoming.get(), &progress, on_transfer));
  }
  return incoming->Complete();
}

}  // namespace

absl::StatusOr<bool> HasDataset(const std::shared_ptr<grpc::Channel>& channel, const std::string& hash) {
  const auto stub = v1::ArtifactService::NewStub(channel);
  ENTRAIN_ASSIGN_OR_RETURN(const v1::FindFolderResponse found, Find(stub.get(), NameOf(hash)));
  return found.complete();
}

absl::StatusOr<bool> PushDataset(const std::shared_ptr<grpc::Channel>& channel, const std::string& hash, const std::string& dir,
                                 const OnTransfer& on_transfer) {
  return Push(channel, NameOf(hash), dir, on_transfer);
}

absl::StatusOr<std::int64_t> DatasetBytes(const std::shared_ptr<grpc::Channel>& channel, const std::string& hash) {
  const auto stub = v1::ArtifactService::NewStub(channel);
  ENTRAIN_ASSIGN_OR_RETURN(const std::vector<FolderFile> files, List(stub.get(), DatasetPath(hash)));
  return TotalBytes(files);
}

absl::Status FetchDataset(const std::shared_ptr<grpc::Channel>& channel, const std::string& hash, const std::string& datasets_dir,
                          const OnTransfer& on_transfer) {
  ENTRAIN_ASSIGN_OR_RETURN(const FolderPlace place, DatasetPlace(datasets_dir, hash));
  return Fetch(channel, DatasetPath(hash), place, on_transfer);
}

absl::Status PushCheckpoint(const std::shared_ptr<grpc::Channel>& channel, const domain::AttemptKey& key, std::int64_t step,
                            const std::string& dir) {
  return Push(channel, NameOf(key, step), dir, {}).status();
}

absl::Status FetchCheckpoint(const std::shared_ptr<grpc::Channel>& channel, const domain::AttemptKey& key, std::int64_t step,
                             const std::string& root) {
  ENTRAIN_ASSIGN_OR_RETURN(const FolderPlace place, CheckpointPlace(root, key, step));
  return Fetch(channel, CheckpointPath(key, step), place, {});
}

}  // namespace entrain::artifacts
