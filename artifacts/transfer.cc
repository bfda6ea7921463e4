#include "artifacts/transfer.h"

#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "artifacts/artifact_store.h"
#include "artifacts/incoming_dataset.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "entrain/v1/artifact_service.grpc.pb.h"

namespace entrain::artifacts {
namespace {

constexpr std::size_t kChunkBytes = 1 << 20;

absl::Status FromGrpcStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

using Stub = v1::ArtifactService::Stub;

absl::StatusOr<v1::FindDatasetResponse> Find(Stub* stub, const std::string& hash) {
  grpc::ClientContext context;
  v1::FindDatasetRequest request;
  request.set_hash(hash);
  v1::FindDatasetResponse response;
  ENTRAIN_RETURN_IF_ERROR(FromGrpcStatus(stub->FindDataset(&context, request, &response)));
  return response;
}

absl::StatusOr<std::vector<DatasetFile>> List(Stub* stub, const std::string& path) {
  grpc::ClientContext context;
  v1::ListFilesRequest request;
  request.set_path(path);
  v1::ListFilesResponse response;
  ENTRAIN_RETURN_IF_ERROR(FromGrpcStatus(stub->ListFiles(&context, request, &response)));
  std::vector<DatasetFile> files;
  for (const v1::ArtifactFile& file : response.files()) files.push_back({file.name(), file.bytes(), ""});
  return files;
}

std::int64_t TotalBytes(const std::vector<DatasetFile>& files) {
  std::int64_t bytes = 0;
  for (const DatasetFile& file : files) bytes += file.bytes;
  return bytes;
}

// One upload's stream.
class Upload {
 public:
  Upload(Stub* stub, const std::string& dir, std::vector<DatasetFile> files, const OnTransfer& on_transfer)
      : dir_(dir), files_(std::move(files)), on_transfer_(on_transfer), writer_(stub->PushDataset(&context_, &response_)) {
    progress_.total_bytes = TotalBytes(files_);
  }

  absl::StatusOr<bool> Run(const std::string& hash, const std::map<std::string, std::int64_t>& arrived) {
    const absl::Status sent = Send(hash, arrived);
    // A stream that the other side ended says why when it is finished; a problem on this side comes first.
    if (!sent.ok() && !absl::IsUnavailable(sent)) {
      context_.TryCancel();
      writer_->Finish();
      return sent;
    }
    writer_->WritesDone();
    ENTRAIN_RETURN_IF_ERROR(FromGrpcStatus(writer_->Finish()));
    ENTRAIN_RETURN_IF_ERROR(sent);
    return response_.was_there();
  }

 private:
  absl::Status Send(const std::string& hash, const std::map<std::string, std::int64_t>& arrived) {
    v1::PushDatasetRequest begin;
    begin.mutable_begin()->set_hash(hash);
    for (const DatasetFile& file : files_) {
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
      v1::PushDatasetRequest request;
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
  const std::vector<DatasetFile> files_;
  const OnTransfer& on_transfer_;
  TransferProgress progress_;
  grpc::ClientContext context_;
  v1::PushDatasetResponse response_;
  const std::unique_ptr<grpc::ClientWriter<v1::PushDatasetRequest>> writer_;
};

absl::Status FetchFile(Stub* stub, const std::string& path, std::size_t index, IncomingDataset* incoming, TransferProgress* progress,
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
  const absl::Status ended = FromGrpcStatus(reader->Finish());
  return status.ok() ? ended : status;
}

}  // namespace

absl::StatusOr<bool> HasDataset(const std::shared_ptr<grpc::Channel>& channel, const std::string& hash) {
  const auto stub = v1::ArtifactService::NewStub(channel);
  ENTRAIN_ASSIGN_OR_RETURN(const v1::FindDatasetResponse found, Find(stub.get(), hash));
  return found.complete();
}

absl::StatusOr<bool> PushDataset(const std::shared_ptr<grpc::Channel>& channel, const std::string& hash, const std::string& dir,
                                 const OnTransfer& on_transfer) {
  const auto stub = v1::ArtifactService::NewStub(channel);
  ENTRAIN_ASSIGN_OR_RETURN(const v1::FindDatasetResponse found, Find(stub.get(), hash));
  if (found.complete()) return true;
  ENTRAIN_ASSIGN_OR_RETURN(std::vector<DatasetFile> files, ListPlainFiles(dir));
  ENTRAIN_RETURN_IF_ERROR(HashFiles(dir, &files));
  std::map<std::string, std::int64_t> arrived;
  for (const v1::ArtifactFile& file : found.arrived()) arrived[file.name()] = file.bytes();
  return Upload(stub.get(), dir, std::move(files), on_transfer).Run(hash, arrived);
}

absl::StatusOr<std::int64_t> DatasetBytes(const std::shared_ptr<grpc::Channel>& channel, const std::string& hash) {
  const auto stub = v1::ArtifactService::NewStub(channel);
  ENTRAIN_ASSIGN_OR_RETURN(const std::vector<DatasetFile> files, List(stub.get(), DatasetPath(hash)));
  return TotalBytes(files);
}

absl::Status FetchDataset(const std::shared_ptr<grpc::Channel>& channel, const std::string& hash, const std::string& datasets_dir,
                          const OnTransfer& on_transfer) {
  const auto stub = v1::ArtifactService::NewStub(channel);
  ENTRAIN_ASSIGN_OR_RETURN(std::vector<DatasetFile> files, List(stub.get(), DatasetPath(hash)));
  ENTRAIN_RETURN_IF_ERROR(MakeFolders(datasets_dir));
  TransferProgress progress{0, TotalBytes(files)};
  ENTRAIN_ASSIGN_OR_RETURN(const std::unique_ptr<IncomingDataset> incoming, IncomingDataset::Open(datasets_dir, hash, std::move(files)));
  for (std::size_t i = 0; i < incoming->files().size(); ++i) {
    ENTRAIN_RETURN_IF_ERROR(FetchFile(stub.get(), DatasetPath(hash), i, incoming.get(), &progress, on_transfer));
  }
  return incoming->Complete();
}

}  // namespace entrain::artifacts
