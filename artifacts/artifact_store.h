// The artifact root: token shards and published checkpoints. On one machine a folder; on a cluster the same folder on a shared file
// system.
//
//   <root>/datasets/<hash>/                                 a prepared dataset
//   <root>/checkpoints/<run>/<attempt>/step-00000100/       a published checkpoint
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "domain/fleet.h"

namespace entrain::artifacts {

// Paths relative to the root.
std::string DatasetPath(std::string_view hash);
std::string CheckpointPath(const domain::AttemptKey& key, std::int64_t step);
struct CheckpointName {
  domain::AttemptKey key;
  std::int64_t step = 0;
};
// Of a path that CheckpointPath() made; nothing for any other.
std::optional<CheckpointName> ParseCheckpointPath(std::string_view path);

// INVALID_ARGUMENT unless `path` is relative, normal (no empty, "." or ".." part) and not empty.
absl::Status CheckInnerPath(std::string_view path);

// Thread-safe.
class ArtifactStore {
 public:
  virtual ~ArtifactStore() = default;

  // Makes the complete folder `local_dir` visible under CheckpointPath(key, step), whole or not at all, and durable when this returns
  // OK; the local folder stays. Publishing it again is OK and changes nothing. Returns the relative path. RESOURCE_EXHAUSTED when the
  // disk is full (nothing is left behind), NOT_FOUND when there is no such local folder.
  virtual absl::StatusOr<std::string> PublishCheckpoint(const domain::AttemptKey& key, std::int64_t step,
                                                        const std::string& local_dir) = 0;

  // The absolute path of what is stored under a relative one. NOT_FOUND; INVALID_ARGUMENT when it would leave the root, also by
  // way of a link.
  virtual absl::StatusOr<std::string> Resolve(std::string_view path) const = 0;
  // Of a dataset; may fetch it first.
  virtual absl::StatusOr<std::string> ResolveDataset(std::string_view hash) const { return Resolve(DatasetPath(hash)); }

  // Of the dataset's tokeniser, from its dataset.json. NOT_FOUND when there is no such dataset, DATA_LOSS when the file does not say.
  absl::StatusOr<std::int64_t> ReadVocabSize(std::string_view hash) const;

  // Somebody wants it: from here on retention counts its age, as long as no sweep names it. Best effort.
  void TouchDataset(std::string_view hash) const;

  // Removes one published checkpoint; OK when it is gone already.
  virtual absl::Status RemoveCheckpoint(std::string_view path) = 0;

  virtual const std::string& root() const = 0;
};

// Creates the root's folders as needed.
absl::StatusOr<std::unique_ptr<ArtifactStore>> OpenArtifactFolder(const std::string& root);

}  // namespace entrain::artifacts
