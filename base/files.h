// Files as values, written so that a reader sees the old content or the new, never a part.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace entrain {

// The whole file. NOT_FOUND if there is none; otherwise the system's reason; always with the path.
absl::StatusOr<std::string> ReadFile(const std::string& path);

// Writes a neighbour file, fsyncs it, renames it over `path` and fsyncs the folder.
absl::Status WriteFileAtomically(const std::string& path, std::string_view bytes);

// fsync of an existing file or folder.
absl::Status SyncPath(const std::string& path);
// fsync of every folder from `path` up to `root`, so that new names in them survive a power loss.
absl::Status SyncUpwards(const std::string& path, const std::string& root);

// mkdir -p.
absl::Status MakeFolders(const std::string& path);

// Free bytes for an unprivileged writer on the file system that holds `path`.
absl::StatusOr<std::uint64_t> FreeBytes(const std::string& path);

// The status of a failed system call: "<action> <path>: <reason>"; ENOENT is NOT_FOUND, ENOSPC and EDQUOT RESOURCE_EXHAUSTED.
absl::Status ErrnoStatus(int error, std::string_view action, std::string_view path);

}  // namespace entrain
