// A dataset or checkpoint that arrives piece by piece, from whoever pushes it or for a worker's cache. Nothing is visible under its name
// before it is complete.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "domain/fleet.h"

namespace entrain::artifacts {

// 32 lower-case hexadecimal digits.
bool IsDatasetHash(std::string_view hash);

struct FolderFile {
  std::string name;
  std::int64_t bytes = 0;
  std::string hash;  // of the content; empty where nobody said, then what an earlier process left does not count
};

// The plain files of a folder, by name. INVALID_ARGUMENT when something else lies there.
absl::StatusOr<std::vector<FolderFile>> ListPlainFiles(const std::string& dir);
// Adds their hashes, reading everything.
absl::Status HashFiles(const std::string& dir, std::vector<FolderFile>* files);

// Where a folder is to appear, and what makes it whole.
struct FolderPlace {
  std::string root;    // made durable from here down
  std::string parent;
  std::string name;
  std::string what;           // for people
  std::string manifest;       // the file that must be among the others
  std::string manifest_text;  // which that file must hold
  std::string Target() const { return parent + "/" + name; }
};
// INVALID_ARGUMENT for a bad hash.
absl::StatusOr<FolderPlace> DatasetPlace(const std::string& datasets_dir, const std::string& hash);
// Under an artifact root or a cache that is laid out like one. INVALID_ARGUMENT for a run's name that is no plain one, or a negative step.
absl::StatusOr<FolderPlace> CheckpointPlace(const std::string& root, const domain::AttemptKey& key, std::int64_t step);

// What has arrived of an unfinished folder; empty when nothing has.
std::vector<FolderFile> ArrivedFiles(const FolderPlace& place);

class IncomingFolder {
 public:
  // INVALID_ARGUMENT for bad file names, or without the manifest; ABORTED while another process or thread receives the same;
  // RESOURCE_EXHAUSTED when the disk has not enough room.
  static absl::StatusOr<std::unique_ptr<IncomingFolder>> Open(const FolderPlace& place, std::vector<FolderFile> files);
  // What has arrived stays for the next Open.
  ~IncomingFolder();
  IncomingFolder(const IncomingFolder&) = delete;
  IncomingFolder& operator=(const IncomingFolder&) = delete;

  const std::vector<FolderFile>& files() const { return files_; }
  // Bytes of the file that are here.
  std::int64_t Received(std::size_t file) const { return received_[file]; }
  // The next bytes of a file. INVALID_ARGUMENT names the file and offset: not the next ones, more than announced, a wrong checksum.
  absl::Status Append(std::size_t file, std::int64_t offset, std::string_view bytes, std::uint64_t checksum);
  // Checks every file's size and hash, makes all durable and gives the folder its name. DATA_LOSS names a file that does not fit; it is
  // dropped and has to be sent again.
  absl::Status Complete();

 private:
  IncomingFolder(const FolderPlace& place, std::vector<FolderFile> files, int lock);
  std::string PathOf(std::size_t file) const;
  absl::Status TakeStock();
  absl::Status CheckFile(std::size_t file) const;

  const FolderPlace place_;
  const std::string dir_;
  const std::vector<FolderFile> files_;
  std::vector<std::int64_t> received_;
  const int lock_;
  int open_file_ = -1;
  std::size_t open_index_ = 0;
};

}  // namespace entrain::artifacts
