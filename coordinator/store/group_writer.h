// Group commit: writers that arrive while a transaction is being synced share the next one, so that the number of syncs does not
// grow with the number of writers.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <vector>

#include "coordinator/store/sqlite.h"

namespace entrain::store {

// Thread-safe; the database is used by one writer at a time.
class GroupWriter {
 public:
  using Write = std::function<absl::Status()>;
  explicit GroupWriter(Database* database) : database_(database) {}

  // Runs `write` inside a transaction and returns once it is durable. When any write of the shared transaction fails, all do.
  absl::Status Run(const Write& write);

 private:
  struct Pending {
    const Write* write = nullptr;
    absl::Status status;
    bool done = false;
  };
  Database* const database_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Pending*> queue_;
  bool leading_ = false;
};

}  // namespace entrain::store
