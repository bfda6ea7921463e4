// The artifact root of a machine that may not share the coordinator's folder: datasets that are not there are fetched into a folder of
// bounded size on this machine.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "artifacts/artifact_store.h"

namespace entrain::artifacts {

// What the cache needs from outside. Called on whichever thread resolves.
struct CacheSource {
  // The size of a dataset where it comes from. NOT_FOUND when it is not there either.
  std::function<absl::StatusOr<std::int64_t>(const std::string& hash)> size;
  // Makes `<datasets_dir>/<hash>`, whole or not at all.
  std::function<absl::Status(const std::string& hash, const std::string& datasets_dir)> fetch;
  // Dataset folders that running attempts read.
  std::function<std::set<std::string>()> in_use;
};

class CachedArtifacts : public ArtifactStore {
 public:
  // `dir` is the cache's own folder; together its datasets stay within max_bytes.
  CachedArtifacts(std::unique_ptr<ArtifactStore> store, std::string dir, std::int64_t max_bytes, CacheSource source);

  absl::StatusOr<std::string> PublishCheckpoint(const domain::AttemptKey& key, std::int64_t step, const std::string& local_dir) override {
    return store_->PublishCheckpoint(key, step, local_dir);
  }
  absl::StatusOr<std::string> Resolve(std::string_view path) const override { return store_->Resolve(path); }
  // From the root, else from the cache, else fetched: this may take as long as the dataset is large. RESOURCE_EXHAUSTED when the dataset is
  // larger than the cache, or what is in use leaves too little.
  absl::StatusOr<std::string> ResolveDataset(std::string_view hash) const override;
  absl::Status RemoveCheckpoint(std::string_view path) override { return store_->RemoveCheckpoint(path); }
  const std::string& root() const override { return store_->root(); }

 private:
  absl::Status MakeRoom(std::int64_t wanted_bytes) const;

  const std::unique_ptr<ArtifactStore> store_;
  const std::string dir_;
  const std::int64_t max_bytes_;
  const CacheSource source_;
  mutable std::mutex mutex_;             // one fetch at a time
  mutable std::set<std::string> given_;  // folders handed out since this process began: an attempt may be about to open them
};

}  // namespace entrain::artifacts
