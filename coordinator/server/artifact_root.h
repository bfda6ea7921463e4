// A shared artifact root says who it is, so that two coordinators of one store notice when their folders are not the same.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/random.h"

namespace entrain::server {

// The identity in `dir`; a folder without one is given one. One process at a time.
absl::StatusOr<std::string> ArtifactRootOf(const std::string& dir, IdSource* ids);
// FAILED_PRECONDITION unless `dir` is the root `expected`.
absl::Status CheckArtifactRoot(const std::string& dir, const std::string& expected);

// The identity of the SQLite store in `data_dir`; one without is given one. It is part of a backup.
absl::StatusOr<std::string> StoreIdOf(const std::string& data_dir, IdSource* ids);

}  // namespace entrain::server
