// The store in PostgreSQL, for coordinators that stand by for each other. One of them leads: it holds a lease by the database's clock and
// an epoch that grows with every change of leader. Every transaction checks the epoch, so that whatever a deposed leader still writes
// is refused (ABORTED), however late it comes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "coordinator/store/history.h"
#include "coordinator/store/store.h"

namespace entrain::store {

struct PostgresOptions {
  std::string url;            // postgresql://[USER@]HOST[:PORT]/DATABASE or libpq's "host=... dbname=..."; never with a password
  std::string password_file;  // its first line; empty: PGPASSFILE, a service file or none
  std::string holder;         // names this process to the others
  std::int64_t lease_ms = 10'000;
};

// Thread-safe.
class Leadership {
 public:
  // Ends the lease, so that a standby need not wait for it, unless it was lost.
  virtual ~Leadership() = default;
  // True: this process leads from now on, and the lease is renewed by a thread of its own. False: another's lease runs, or the server
  // cannot be reached, which is logged.
  virtual absl::StatusOr<bool> TryToLead() = 0;
  // Who holds the lease, as far as the last try saw.
  virtual std::string Holder() const = 0;
  // Of our lease; 0 before we led.
  virtual std::int64_t epoch() const = 0;
  // Why we lead no more: ABORTED when another took over, UNAVAILABLE when the lease could not be renewed in time. OK while we lead.
  virtual absl::Status Lost() const = 0;
  // Called once, from a thread of ours, as soon as `Lost` is not OK. Before TryToLead.
  virtual void OnLost(std::function<void(const absl::Status&)> hook) = 0;
  // The identity of the artifact root that the database belongs to; empty: none yet.
  virtual absl::StatusOr<std::string> ArtifactRoot() = 0;
  // Binds the database to one: FAILED_PRECONDITION when it belongs to another. The leader's.
  virtual absl::Status BindArtifactRoot(const std::string& root_id) = 0;
};

// Connects and makes the tables in a database that has none; in the first schema of the role's search path. INVALID_ARGUMENT when the
// address cannot be used, FAILED_PRECONDITION when the server lets us not in or the schema is newer than this build knows, UNAVAILABLE
// when no server answers.
absl::StatusOr<std::unique_ptr<Leadership>> OpenLeadership(const PostgresOptions& options, const Clock* clock);

// The leader's store; it must not outlive `leadership`. While the server is away its calls wait as long as the lease runs.
absl::StatusOr<std::unique_ptr<Store>> OpenPostgresStore(Leadership* leadership);

// Without leading; only reads.
absl::StatusOr<History> ReadPostgresHistory(const PostgresOptions& options, const Clock* clock);

}  // namespace entrain::store
