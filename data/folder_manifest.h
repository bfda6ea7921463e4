// manifest.json of a checkpoint folder: size and hash of every other file, and a hash of each block, so that damage is named by its
// place.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace entrain::data {

struct ManifestSummary {
  std::int64_t bytes = 0;  // of all files, the manifest included
  std::string hash;        // of manifest.json: names the checkpoint's content
};

// Reads every file of the folder and writes manifest.json, fsynced.
absl::StatusOr<ManifestSummary> WriteManifest(const std::string& folder);

// Reads every file that the manifest names. DATA_LOSS names the file and what is wrong: missing, truncated (with both sizes) or damaged
// (with the range of bytes).
absl::Status VerifyManifest(const std::string& folder);
// The same for some of the files; INVALID_ARGUMENT when the manifest does not name one of them.
absl::Status VerifyManifest(const std::string& folder, const std::vector<std::string>& names);

}  // namespace entrain::data
