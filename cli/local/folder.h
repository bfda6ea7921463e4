// The folder of `entrain local`: what lies where, and that only one of them works in it.
//
//   entrain-data/
//     local.lock             held while an `entrain local` works here; holds its process id
//     coordinator.address    where its coordinator listens, while it runs
//     coordinator/           the coordinator's journal and samples
//     worker/                the worker's identity and attempt folders
//     artifacts/             prepared datasets and checkpoints
//     coordinator.log, worker.log
//     report-<sweep>.html
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace entrain::cli::local {

class Folder {
 public:
  // Makes the folder and takes its lock. FAILED_PRECONDITION names the process that works there.
  static absl::StatusOr<Folder> Open(const std::string& root);
  ~Folder();
  Folder(Folder&& other) noexcept;
  Folder& operator=(Folder&&) = delete;

  const std::string& root() const { return root_; }  // absolute
  std::string Path(const std::string& name) const { return root_ + "/" + name; }

 private:
  Folder(std::string root, int lock) : root_(std::move(root)), lock_(lock) {}
  std::string root_;
  int lock_;
};

// The address of the coordinator of the `entrain local` that works in `root` now; empty when there is none.
std::string RunningCoordinator(const std::string& root);

}  // namespace entrain::cli::local
