// A leader's way to write: one session at a time under a fence that older sessions and older leaders do not pass. Private to the store.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "coordinator/store/postgres.h"
#include "coordinator/store/postgres_lease.h"

namespace entrain::store {

// Not thread-safe.
class PostgresLane {
 public:
  PostgresLane(PostgresLease* lease, std::string lane) : lease_(lease), lane_(std::move(lane)) {}

  // A new session under a fence of its own: whatever an older one sent is done or will be refused, so what is read from here on is
  // final. Waits for the server as long as the lease runs.
  absl::Status Fence();
  // One transaction: `sql` begins with "WITH fence AS (FenceSql()), ..." and ends with "SELECT count(*) FROM fence"; its own values come
  // from $3 on. When the connection is lost on the way, `landed` says, by reading, whether the try was committed; if not it is made again.
  absl::Status Write(const std::string& sql, const std::function<void(PostgresValues*)>& bind,
                     const std::function<absl::StatusOr<bool>()>& landed);
  static std::string FenceSql(const std::string& lane);
  // For reading under the fence.
  PostgresConnection* connection() { return connection_.get(); }

 private:
  absl::StatusOr<bool> TryWrite(const std::string& sql, const std::function<void(PostgresValues*)>& bind);
  absl::StatusOr<std::int64_t> TakeFence();

  PostgresLease* const lease_;
  const std::string lane_;
  std::unique_ptr<PostgresConnection> connection_;
  std::int64_t token_ = 0;
};

// For questions alone: asks again over a new connection while the server is away and the lease runs. Not thread-safe.
class PostgresReader {
 public:
  explicit PostgresReader(PostgresLease* lease) : lease_(lease) {}
  absl::StatusOr<PostgresRows> Run(const std::string& sql, const PostgresValues& values);
  const std::string& name() const { return lease_->name(); }

 private:
  PostgresLease* const lease_;
  std::unique_ptr<PostgresConnection> connection_;
};

}  // namespace entrain::store
