// The artifact root over gRPC: clients push datasets, workers fetch them.
#pragma once

#include "artifacts/artifact_store.h"
#include "entrain/v1/artifact_service.grpc.pb.h"

namespace entrain::rpc {

// Thread-safe: it keeps nothing but the store.
class ArtifactService final : public v1::ArtifactService::Service {
 public:
  explicit ArtifactService(const artifacts::ArtifactStore* store) : store_(store) {}

  grpc::Status FindDataset(grpc::ServerContext* call, const v1::FindDatasetRequest* request, v1::FindDatasetResponse* response) override;
  grpc::Status PushDataset(grpc::ServerContext* call, grpc::ServerReader<v1::PushDatasetRequest>* reader,
                           v1::PushDatasetResponse* response) override;
  grpc::Status ListFiles(grpc::ServerContext* call, const v1::ListFilesRequest* request, v1::ListFilesResponse* response) override;
  grpc::Status ReadFile(grpc::ServerContext* call, const v1::ReadFileRequest* request, grpc::ServerWriter<v1::FileChunk>* writer) override;

 private:
  absl::Status Receive(grpc::ServerReader<v1::PushDatasetRequest>* reader, v1::PushDatasetResponse* response) const;
  absl::Status Send(const v1::ReadFileRequest& request, grpc::ServerWriter<v1::FileChunk>* writer) const;

  const artifacts::ArtifactStore* const store_;
};

}  // namespace entrain::rpc
