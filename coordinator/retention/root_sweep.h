// What lies in an artifact root and what of it may go: checkpoints off their run's list, what crashed uploads and replaced attempts left,
// datasets that no sweep names.
//
// A folder is deleted in two steps: renamed into <root>/.trash, then removed there. So a kill at any moment leaves it whole under its name, or
// not at all; what is in .trash goes at the next sweep.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "artifacts/pins.h"
#include "coordinator/core/state.h"

namespace entrain::retention {

enum class GarbageKind { kCheckpoint, kOrphan, kUpload, kDataset };
std::string_view ToString(GarbageKind kind);  // "checkpoint", "orphan", "upload", "dataset"

struct Garbage {
  GarbageKind kind = GarbageKind::kOrphan;
  std::string path;  // relative to the root
  std::int64_t bytes = 0;
  std::string why;
  std::int64_t due_in_s = 0;  // 0: now; else its grace is not over
};

struct RootContents {
  std::int64_t used_bytes = 0;     // of everything below
  std::int64_t dataset_bytes = 0;
  std::vector<Garbage> garbage;
};

struct SweepOptions {
  std::int64_t grace_s = 86'400;
  // Of datasets without a sweep; 0: they stay.
  std::int64_t dataset_grace_s = 0;
  // Runs that the state does not know are its own past and not another coordinator's.
  bool owns_root = false;
};

// Only reads. `now_wall_ms` is compared with the files' times.
absl::StatusOr<RootContents> SweepRoot(const std::string& root, const core::State& state, const SweepOptions& options, std::int64_t now_wall_ms);

// The greatest attempt number under which anything lies in the root; 0: nothing does.
absl::StatusOr<AttemptNumber> HighestAttempt(const std::string& root);

// Deletes one of SweepRoot's; false when somebody reads it. OK when it is gone already.
absl::StatusOr<bool> Collect(const std::string& root, const std::string& path, const artifacts::Pins& pins);
// What earlier deletions did not finish.
absl::Status EmptyTrash(const std::string& root);

// Whether the root belongs to this store: the first to ask writes `store_id` into it. False: it has another's.
absl::StatusOr<bool> ClaimRoot(const std::string& root, const std::string& store_id);

}  // namespace entrain::retention
