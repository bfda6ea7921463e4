#include "coordinator/store/postgres_store.h"

#include <limits>

#include "base/status_macros.h"
#include "base/strings.h"
#include "coordinator/store/postgres_journal.h"
#include "coordinator/store/postgres_lease.h"
#include "coordinator/store/postgres_rows.h"
#include "coordinator/store/postgres_samples.h"
#include "coordinator/store/two_lanes.h"

namespace entrain::store {

absl::StatusOr<std::unique_ptr<Store>> OpenPostgresStore(Leadership* leadership) {
  auto* lease = dynamic_cast<PostgresLease*>(leadership);
  if (lease == nullptr || lease->epoch() == 0) return absl::FailedPreconditionError("the PostgreSQL store needs the leader's lease");
  ENTRAIN_ASSIGN_OR_RETURN(auto journal, PostgresJournal::Open(lease));
  ENTRAIN_ASSIGN_OR_RETURN(auto samples, PostgresSamples::Open(lease));
  return std::make_unique<TwoLanes<PostgresJournal, PostgresSamples>>(std::move(journal), std::move(samples));
}

absl::StatusOr<History> ReadPostgresHistory(const PostgresOptions& options, const Clock* clock) {
  ENTRAIN_ASSIGN_OR_RETURN(const PostgresTarget target, PostgresTarget::Parse(options.url, options.password_file));
  ENTRAIN_ASSIGN_OR_RETURN(const auto connection, PostgresConnection::Open(target, clock));
  // One moment of all tables.
  ENTRAIN_RETURN_IF_ERROR(connection->Script("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"));
  const AskPostgres ask = [&](const std::string& sql, const PostgresValues& values) { return connection->Run(sql, values); };
  const std::string where = target.name();
  return AssembleHistory({where,
                          [&]() -> absl::StatusOr<std::int64_t> {
                            ENTRAIN_ASSIGN_OR_RETURN(const PostgresRows first, ask("SELECT coalesce(min(seq), 1)::bigint FROM facts", {}));
                            return first.Int(0, 0);
                          },
                          [&](const VisitFact& visit) { return ReadPostgresSnapshot(ask, where, visit); },
                          [&](std::int64_t first, const VisitFact& visit) { return ReadPostgresFacts(ask, where, first, visit); },
                          [&](const auto& visit) { return ReadPostgresEvents(ask, where, visit); }});
}

}  // namespace entrain::store
