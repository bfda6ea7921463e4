// The content of a file, read in sequence: as it is, or what gzip (.gz) or Zstandard (.zst) packed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace entrain::data {

class InputStream {
 public:
  virtual ~InputStream() = default;
  // Appends the next bytes, at most about a mebibyte; false at the end. INVALID_ARGUMENT names the path and the offset in the file where
  // packed content is damaged or cut off.
  virtual absl::StatusOr<bool> ReadInto(std::string* buffer) = 0;
  // Leaves out the next bytes of the content.
  virtual absl::Status Skip(std::int64_t bytes) = 0;

  // By the file's ending.
  static absl::StatusOr<std::unique_ptr<InputStream>> Open(const std::string& path);
};

// The path without .gz or .zst.
std::string UnpackedName(const std::string& path);

}  // namespace entrain::data
