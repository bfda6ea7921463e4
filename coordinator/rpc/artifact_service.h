// The artifact root over gRPC: clients push datasets, workers fetch them and push checkpoints.
#pragma once

#include <functional>

#include "artifacts/artifact_store.h"
#include "artifacts/incoming_folder.h"
#include "coordinator/rpc/access.h"
#include "coordinator/samples/published_state.h"
#include "entrain/v1/artifact_service.grpc.pb.h"

namespace entrain::rpc {

// Thread-safe: it keeps nothing but the store.
class ArtifactService final : public v1::ArtifactService::Service {
 public:
  // Whether an attempt may bring checkpoints.
  using MayPublish = std::function<absl::Status(const domain::AttemptKey& key)>;
  // Without `access` every caller is a process of this machine.
  ArtifactService(const artifacts::ArtifactStore* store, MayPublish may_publish, Access* access = nullptr,
                  const samples::PublishedState* published = nullptr)
      : store_(store), may_publish_(std::move(may_publish)), access_(access), published_(published) {}

  grpc::Status FindFolder(grpc::ServerContext* call, const v1::FindFolderRequest* request, v1::FindFolderResponse* response) override;
  grpc::Status PushFolder(grpc::ServerContext* call, grpc::ServerReader<v1::PushFolderRequest>* reader,
                           v1::PushFolderResponse* response) override;
  grpc::Status ListFiles(grpc::ServerContext* call, const v1::ListFilesRequest* request, v1::ListFilesResponse* response) override;
  grpc::Status ReadFile(grpc::ServerContext* call, const v1::ReadFileRequest* request, grpc::ServerWriter<v1::FileChunk>* writer) override;

 private:
  // Of a request or a begin.
  template <typename Message>
  absl::StatusOr<artifacts::FolderPlace> PlaceOf(const Message& message, const Caller& caller) const;
  Caller CallerOf(grpc::ServerContext* call) const { return access_ == nullptr ? Caller() : access_->CallerOf(*call); }
  // The path in the artifact root, if it is the caller's to read.
  absl::StatusOr<std::string> Readable(grpc::ServerContext* call, const std::string& path) const;
  absl::Status Receive(grpc::ServerContext* call, grpc::ServerReader<v1::PushFolderRequest>* reader, v1::PushFolderResponse* response) const;
  absl::Status Send(grpc::ServerContext* call, const v1::ReadFileRequest& request, grpc::ServerWriter<v1::FileChunk>* writer) const;

  const artifacts::ArtifactStore* const store_;
  const MayPublish may_publish_;
  Access* const access_;
  const samples::PublishedState* const published_;
};

}  // namespace entrain::rpc
