// Reading the journal's tables in PostgreSQL, a page at a time. Private to the store.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "coordinator/store/journal_rows.h"
#include "coordinator/store/postgres.h"

namespace entrain::store {

using AskPostgres = std::function<absl::StatusOr<PostgresRows>(const std::string& sql, const PostgresValues& values)>;

// As their namesakes of SQLite; `where` names the database.
absl::StatusOr<std::int64_t> ReadPostgresSnapshot(const AskPostgres& ask, const std::string& where, const VisitFact& visit);
absl::Status ReadPostgresFacts(const AskPostgres& ask, const std::string& where, std::int64_t first, const VisitFact& visit);
absl::Status ReadPostgresEvents(const AskPostgres& ask, const std::string& where, const std::function<void(StoredEvent)>& visit);

}  // namespace entrain::store
