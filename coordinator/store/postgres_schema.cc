#include "coordinator/store/postgres_schema.h"

#include <string>
#include <vector>

#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::store {
namespace {

// "entr": the advisory lock under which tables are made and changed.
constexpr std::int64_t kSchemaLock = 0x656e7472;

// Runs whose samples retention thinned.
const char* const kThinned = "CREATE TABLE thinned (run TEXT PRIMARY KEY, every BIGINT NOT NULL, wall_ms BIGINT NOT NULL);";

// `migrations[v]` leads from version v to v + 1; 0: no tables.
const std::vector<std::string>& PostgresMigrations() {
  static const std::vector<std::string> migrations = {R"sql(
    CREATE TABLE leader (
      one BOOLEAN PRIMARY KEY DEFAULT true CHECK (one),
      epoch BIGINT NOT NULL,
      holder TEXT NOT NULL,
      expires TIMESTAMPTZ NOT NULL,
      artifact_root TEXT NOT NULL DEFAULT ''
    );
    INSERT INTO leader (epoch, holder, expires) VALUES (0, '', 'epoch');
    -- Who may write a lane: transactions hold a shared lock on its row, a new writer changes it.
    CREATE TABLE fences (lane TEXT PRIMARY KEY, epoch BIGINT NOT NULL, token BIGINT NOT NULL);
    INSERT INTO fences VALUES ('journal', 0, 0), ('samples', 0, 0);
    CREATE TABLE facts (
      seq BIGINT PRIMARY KEY,
      at_ms BIGINT NOT NULL,
      wall_ms BIGINT NOT NULL,
      kind TEXT NOT NULL,
      body BYTEA NOT NULL,
      checksum BIGINT NOT NULL
    );
    CREATE TABLE events (
      seq BIGINT PRIMARY KEY,
      at_ms BIGINT NOT NULL,
      wall_ms BIGINT NOT NULL,
      facts_before BIGINT NOT NULL,
      term BIGINT NOT NULL,
      body BYTEA NOT NULL
    );
    CREATE TABLE snapshot_parts (
      number BIGINT NOT NULL,
      part BIGINT NOT NULL,
      through_seq BIGINT NOT NULL,
      body BYTEA NOT NULL,
      checksum BIGINT NOT NULL,
      PRIMARY KEY (number, part)
    );
    CREATE TABLE attempts (
      run TEXT NOT NULL,
      attempt BIGINT NOT NULL,
      resume_step BIGINT NOT NULL,
      PRIMARY KEY (run, attempt)
    );
    CREATE TABLE samples (
      run TEXT NOT NULL,
      attempt BIGINT NOT NULL,
      step BIGINT NOT NULL,
      body BYTEA NOT NULL,
      PRIMARY KEY (run, attempt, step)
    );
    CREATE TABLE evaluations (
      run TEXT NOT NULL,
      attempt BIGINT NOT NULL,
      step BIGINT NOT NULL,
      loss DOUBLE PRECISION NOT NULL,
      tokens BIGINT NOT NULL,
      wall_ms BIGINT NOT NULL,
      PRIMARY KEY (run, attempt, step)
    );
    CREATE TABLE log_lines (
      run TEXT NOT NULL,
      number BIGINT NOT NULL,
      attempt BIGINT NOT NULL,
      line BYTEA NOT NULL,
      PRIMARY KEY (run, number)
    );
    CREATE TABLE entrain_schema (version BIGINT NOT NULL);
    INSERT INTO entrain_schema VALUES (0);
  )sql", kThinned};
  return migrations;
}

absl::StatusOr<std::int64_t> ReadVersion(PostgresConnection* connection) {
  ENTRAIN_ASSIGN_OR_RETURN(const PostgresRows table, connection->Run("SELECT (to_regclass('entrain_schema') IS NOT NULL)::int::bigint"));
  if (table.Int(0, 0) == 0) return 0;
  ENTRAIN_ASSIGN_OR_RETURN(const PostgresRows version, connection->Run("SELECT coalesce(max(version), 0)::bigint FROM entrain_schema"));
  return version.Int(0, 0);
}

absl::Status MigrateLocked(PostgresConnection* connection, const std::string& name, bool only_fresh) {
  const auto newest = static_cast<std::int64_t>(PostgresMigrations().size());
  ENTRAIN_ASSIGN_OR_RETURN(std::int64_t version, ReadVersion(connection));
  if (version > newest) {
    return absl::FailedPreconditionError(
        StrCat(name, " has schema ", version, ", this build knows up to ", newest, ": use a newer build"));
  }
  if (only_fresh && version > 0) return absl::OkStatus();
  for (; version < newest; ++version) {
    const absl::Status made = connection->Script(StrCat(PostgresMigrations()[static_cast<std::size_t>(version)],
                                                        "UPDATE entrain_schema SET version = ", version + 1));
    if (absl::IsFailedPrecondition(made)) {
      return absl::FailedPreconditionError(StrCat(std::string(made.message()), ": the database holds tables that entrain did not make"));
    }
    ENTRAIN_RETURN_IF_ERROR(made);
  }
  return absl::OkStatus();
}

absl::Status InLockedTransaction(PostgresConnection* connection, const std::string& name, bool only_fresh) {
  ENTRAIN_RETURN_IF_ERROR(connection->Script(StrCat("BEGIN; SELECT pg_advisory_xact_lock(", kSchemaLock, ")")));
  const absl::Status status = MigrateLocked(connection, name, only_fresh);
  const absl::Status ended = connection->Script(status.ok() ? "COMMIT" : "ROLLBACK");
  return status.ok() ? ended : status;
}

}  // namespace

absl::Status CreatePostgresSchema(PostgresConnection* connection, const std::string& name) {
  return InLockedTransaction(connection, name, true);
}

absl::Status MigratePostgresSchema(PostgresConnection* connection, const std::string& name) {
  return InLockedTransaction(connection, name, false);
}

}  // namespace entrain::store
