// Datasets and checkpoints between machines that share no folder, over the coordinator's ArtifactService.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "domain/fleet.h"

namespace grpc {
class Channel;
}

namespace entrain::artifacts {

struct TransferProgress {
  std::int64_t bytes = 0;
  std::int64_t total_bytes = 0;
};
using OnTransfer = std::function<void(const TransferProgress&)>;

// Whether the artifact root behind the channel holds the dataset.
absl::StatusOr<bool> HasDataset(const std::shared_ptr<grpc::Channel>& channel, const std::string& hash);

// Uploads the folder `dir` as dataset `hash`; goes on where a broken upload ended. True when it was there already.
absl::StatusOr<bool> PushDataset(const std::shared_ptr<grpc::Channel>& channel, const std::string& hash, const std::string& dir,
                                 const OnTransfer& on_transfer = {});

// How large the dataset is there. NOT_FOUND when it is not.
absl::StatusOr<std::int64_t> DatasetBytes(const std::shared_ptr<grpc::Channel>& channel, const std::string& hash);

// Downloads the dataset into `<datasets_dir>/<hash>`. ABORTED while somebody else does.
absl::Status FetchDataset(const std::shared_ptr<grpc::Channel>& channel, const std::string& hash, const std::string& datasets_dir,
                          const OnTransfer& on_transfer = {});

// Uploads a complete checkpoint folder to CheckpointPath(key, step), whole or not at all, and durable when this returns OK; OK when it is there.
// FAILED_PRECONDITION when the attempt has a successor.
absl::Status PushCheckpoint(const std::shared_ptr<grpc::Channel>& channel, const domain::AttemptKey& key, std::int64_t step,
                            const std::string& dir);
// Downloads it to the same path under `root`. ABORTED while somebody else does.
absl::Status FetchCheckpoint(const std::shared_ptr<grpc::Channel>& channel, const domain::AttemptKey& key, std::int64_t step,
                             const std::string& root);

}  // namespace entrain::artifacts
