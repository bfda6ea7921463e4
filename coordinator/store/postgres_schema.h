// The tables in PostgreSQL and how they come to their newest version. Private to the store.
#pragma once

#include "absl/status/status.h"
#include "coordinator/store/postgres.h"

namespace entrain::store {

// Makes the tables where there are none; otherwise only checks that this build knows their version. Several processes may do so at once.
absl::Status CreatePostgresSchema(PostgresConnection* connection, const std::string& name);
// Brings the tables to the newest version. The leader's alone: an older one must not see its tables change.
absl::Status MigratePostgresSchema(PostgresConnection* connection, const std::string& name);

}  // namespace entrain::store
