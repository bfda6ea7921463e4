// The artifact root of a machine that shares no folder with the coordinator: checkpoints travel to the coordinator's root and back. Datasets
// come through CachedArtifacts.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "artifacts/artifact_store.h"

namespace entrain::artifacts {

// What it needs from outside. Called on whichever thread publishes or resolves.
struct CheckpointTransfer {
  // As PushCheckpoint() and FetchCheckpoint() of transfer.h.
  std::function<absl::Status(const domain::AttemptKey& key, std::int64_t step, const std::string& dir)> push;
  std::function<absl::Status(const domain::AttemptKey& key, std::int64_t step, const std::string& root)> fetch;
  // Checkpoint folders that running attempts started from.
  std::function<std::set<std::string>()> in_use;
};

class RemoteArtifacts : public ArtifactStore {
 public:
  // `dir` keeps what was fetched, until another checkpoint is fetched that nobody starts from any more.
  RemoteArtifacts(std::string dir, CheckpointTransfer transfer) : dir_(std::move(dir)), transfer_(std::move(transfer)) {}

  // UNAVAILABLE while no coordinator can be reached, FAILED_PRECONDITION when the attempt has a successor.
  absl::StatusOr<std::string> PublishCheckpoint(const domain::AttemptKey& key, std::int64_t step, const std::string& local_dir) override;
  // Of a checkpoint, fetched if need be: this may take as long as it is large. NOT_FOUND for anything else.
  absl::StatusOr<std::string> Resolve(std::string_view path) const override;
  // Retention on the coordinator's machine is the coordinator's.
  absl::Status RemoveCheckpoint(std::string_view path) override;
  const std::string& root() const override { return dir_; }

 private:
  void DropUnused() const;

  const std::string dir_;
  const CheckpointTransfer transfer_;
  mutable std::mutex mutex_;             // one fetch at a time
  mutable std::set<std::string> given_;  // handed out since this process began: an attempt may be about to open them
};

}  // namespace entrain::artifacts
