// Reading the journal's tables, checked row by row: what every SQL store shares, and SQLite's part. Private to the store.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/store/history.h"
#include "coordinator/store/sqlite.h"

namespace entrain::store {

// XXH3 of the bytes: it finds damage that the file's structure does not show.
std::int64_t Checksum(std::string_view bytes);

using VisitFact = std::function<void(domain::Fact)>;

// Rows, checked; `where` names the database. DATA_LOSS names the row.
absl::Status VisitSnapshotRow(std::string_view where, std::int64_t part, std::string_view body, std::int64_t checksum, const VisitFact& visit);
absl::Status VisitFactRow(std::string_view where, std::int64_t expected, std::int64_t seq, std::string_view body, std::int64_t checksum,
                          const VisitFact& visit);
absl::StatusOr<domain::Event> DecodeEventRow(std::string_view where, std::int64_t seq, std::string_view body);

// A snapshot's rows, transient facts left out: large enough that reading is not bound by row count, small enough to decode one at a
// time. An empty snapshot is one row, which still stands for
// everything before it.
inline constexpr std::size_t kFactsPerPart = 1024;
std::vector<std::string> SnapshotBodies(const std::vector<domain::Fact>& facts);

// The tables of one moment.
struct HistorySource {
  std::string where;
  std::function<absl::StatusOr<std::int64_t>()> first_fact;  // that is kept; 1 for none
  std::function<absl::StatusOr<std::int64_t>(const VisitFact&)> snapshot;
  std::function<absl::Status(std::int64_t first, const VisitFact&)> facts;
  std::function<absl::Status(const std::function<void(StoredEvent)>&)> events;
};
absl::StatusOr<History> AssembleHistory(const HistorySource& source);

// --- SQLite ---
// The snapshot's facts in order; returns the fact that it stands through, 0: no snapshot.
absl::StatusOr<std::int64_t> ReadSnapshot(Database* database, const VisitFact& visit);
// The facts from number `first` on, without a gap.
absl::Status ReadFacts(Database* database, std::int64_t first, const VisitFact& visit);
// `term`: the SQL of an event's term, "0" where the schema has none.
absl::Status ReadEvents(Database* database, std::string_view term, const std::function<void(StoredEvent)>& visit);

}  // namespace entrain::store
