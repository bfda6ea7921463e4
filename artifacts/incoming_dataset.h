// A dataset that arrives piece by piece, from a client that pushes it or for a worker's cache. Nothing is visible under its hash before it
// is complete.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace entrain::artifacts {

// 32 lower-case hexadecimal digits.
bool IsDatasetHash(std::string_view hash);

struct DatasetFile {
  std::string name;
  std::int64_t bytes = 0;
  std::string hash;  // of the content; empty where nobody said, then what an earlier process left does not count
};

// The plain files of a folder, by name. INVALID_ARGUMENT when something else lies there.
absl::StatusOr<std::vector<DatasetFile>> ListPlainFiles(const std::string& dir);
// Adds their hashes, reading everything.
absl::Status HashFiles(const std::string& dir, std::vector<DatasetFile>* files);
// What has arrived of an unfinished dataset; empty when nothing has.
std::vector<DatasetFile> ArrivedFiles(const std::string& datasets_dir, const std::string& hash);

class IncomingDataset {
 public:
  // INVALID_ARGUMENT for a bad hash or file names, or without dataset.json; ABORTED while another process or thread receives the same;
  // RESOURCE_EXHAUSTED when the disk has not enough room.
  static absl::StatusOr<std::unique_ptr<IncomingDataset>> Open(const std::string& datasets_dir, const std::string& hash,
                                                              std::vector<DatasetFile> files);
  // What has arrived stays for the next Open.
  ~IncomingDataset();
  IncomingDataset(const IncomingDataset&) = delete;
  IncomingDataset& operator=(const IncomingDataset&) = delete;

  const std::vector<DatasetFile>& files() const { return files_; }
  // Bytes of the file that are here.
  std::int64_t Received(std::size_t file) const { return received_[file]; }
  // The next bytes of a file. INVALID_ARGUMENT names the file and offset: not the next ones, more than announced, a wrong checksum.
  absl::Status Append(std::size_t file, std::int64_t offset, std::string_view bytes, std::uint64_t checksum);
  // Checks every file's size and hash, makes all durable and gives the dataset its name. DATA_LOSS names a file that does not fit; it is
  // dropped and has to be sent again.
  absl::Status Complete();

 private:
  IncomingDataset(std::string datasets_dir, std::string hash, std::vector<DatasetFile> files, int lock);
  std::string PathOf(std::size_t file) const;
  absl::Status TakeStock();
  absl::Status CheckFile(std::size_t file) const;

  const std::string datasets_dir_;
  const std::string hash_;
  const std::string dir_;
  const std::vector<DatasetFile> files_;
  std::vector<std::int64_t> received_;
  const int lock_;
  int open_file_ = -1;
  std::size_t open_index_ = 0;
};

}  // namespace entrain::artifacts
