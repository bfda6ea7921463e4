// Where a dataset is made before it has its name: a folder under the root, named by what is prepared, locked while a process works in it.
// What a killed process left there is taken up again by the next that prepares the same.
#pragma once

#include <string>
#include <utility>

#include "absl/status/statusor.h"

namespace entrain::data {

class WorkFolder {
 public:
  // Waits while another process works on the same key.
  static absl::StatusOr<WorkFolder> Open(const std::string& root, const std::string& key);
  WorkFolder(WorkFolder&& other) noexcept : path_(std::move(other.path_)), lock_(std::exchange(other.lock_, -1)) {}
  WorkFolder& operator=(WorkFolder&&) = delete;
  // Removes the folder and all in it, unless it was published.
  ~WorkFolder();

  const std::string& path() const { return path_; }
  // The folder becomes `target`, with everything in it durable.
  absl::Status PublishAs(const std::string& target);

 private:
  WorkFolder(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}

  std::string path_;
  int lock_;
};

}  // namespace entrain::data
