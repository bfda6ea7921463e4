// Who this worker is, kept in its state folder over restarts.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "base/random.h"

namespace entrain::agent {

// Holds the folder while it lives, so that two daemons never share one.
class WorkerIdentity {
 public:
  // Makes the folder and an id when there is none. UNAVAILABLE when another daemon has the folder.
  static absl::StatusOr<std::unique_ptr<WorkerIdentity>> Open(const std::string& folder, IdSource* ids);
  ~WorkerIdentity();
  WorkerIdentity(const WorkerIdentity&) = delete;
  WorkerIdentity& operator=(const WorkerIdentity&) = delete;

  const WorkerId& id() const { return id_; }
  // How often a daemon started on this folder, this time included.
  std::uint64_t starts() const { return starts_; }
  // Above every number that earlier daemons of this folder used.
  std::uint64_t first_number() const { return starts_ << 32; }

 private:
  WorkerIdentity() = default;
  int lock_fd_ = -1;
  WorkerId id_;
  std::uint64_t starts_ = 0;
};

}  // namespace entrain::agent
