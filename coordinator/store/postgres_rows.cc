#include "coordinator/store/postgres_rows.h"

#include "base/status_macros.h"

namespace entrain::store {
namespace {

// Rows of one answer: bounds our memory and the time that one question takes.
constexpr std::int64_t kFactsPerPage = 8192;
constexpr std::int64_t kPartsPerPage = 16;

}  // namespace

absl::StatusOr<std::int64_t> ReadPostgresSnapshot(const AskPostgres& ask, const std::string& where, const VisitFact& visit) {
  std::int64_t through = 0;
  for (std::int64_t part = 0;;) {
    ENTRAIN_ASSIGN_OR_RETURN(const PostgresRows rows,
                             ask("SELECT through_seq, part, body, checksum FROM snapshot_parts"
                                 " WHERE number = (SELECT max(number) FROM snapshot_parts) AND part >= $1 ORDER BY part LIMIT $2",
                                 PostgresValues().Int(part).Int(kPartsPerPage)));
    for (int row = 0; row < rows.size(); ++row) {
      through = rows.Int(row, 0);
      part = rows.Int(row, 1) + 1;
      ENTRAIN_RETURN_IF_ERROR(VisitSnapshotRow(where, rows.Int(row, 1), rows.Blob(row, 2), rows.Int(row, 3), visit));
    }
    if (rows.size() < kPartsPerPage) return through;
  }
}

absl::Status ReadPostgresFacts(const AskPostgres& ask, const std::string& where, std::int64_t first, const VisitFact& visit) {
  for (std::int64_t expected = first;;) {
    ENTRAIN_ASSIGN_OR_RETURN(const PostgresRows rows, ask("SELECT seq, body, checksum FROM facts WHERE seq >= $1 ORDER BY seq LIMIT $2",
                                                          PostgresValues().Int(expected).Int(kFactsPerPage)));
    for (int row = 0; row < rows.size(); ++row, ++expected) {
      ENTRAIN_RETURN_IF_ERROR(VisitFactRow(where, expected, rows.Int(row, 0), rows.Blob(row, 1), rows.Int(row, 2), visit));
    }
    if (rows.size() < kFactsPerPage) return absl::OkStatus();
  }
}

absl::Status ReadPostgresEvents(const AskPostgres& ask, const std::string& where, const std::function<void(StoredEvent)>& visit) {
  for (std::int64_t after = 0;;) {
    ENTRAIN_ASSIGN_OR_RETURN(const PostgresRows rows, ask("SELECT seq, facts_before, term, body FROM events WHERE seq > $1 ORDER BY seq LIMIT $2",
                                                          PostgresValues().Int(after).Int(kFactsPerPage)));
    for (int row = 0; row < rows.size(); ++row) {
      after = rows.Int(row, 0);
      ENTRAIN_ASSIGN_OR_RETURN(domain::Event event, DecodeEventRow(where, after, rows.Blob(row, 3)));
      visit({after, rows.Int(row, 1), rows.Int(row, 2), std::move(event)});
    }
    if (rows.size() < kFactsPerPage) return absl::OkStatus();
  }
}

}  // namespace entrain::store
