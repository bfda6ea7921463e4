#include "coordinator/store/journal_rows.h"

#include "base/hash.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "entrain/journal/v1/journal.pb.h"
#include "proto/journal.h"

namespace entrain::store {
namespace {

absl::Status Damaged(const Database& database, std::string_view table, std::int64_t seq, std::string_view why) {
  return absl::DataLossError(StrCat("database ", database.path(), " is damaged: ", table, " row ", seq, ": ", why));
}

}  // namespace

std::int64_t Checksum(std::string_view bytes) { return static_cast<std::int64_t>(Hash64(bytes)); }

absl::StatusOr<std::int64_t> ReadSnapshot(Database* database, const std::function<void(domain::Fact)>& visit) {
  ENTRAIN_ASSIGN_OR_RETURN(Statement rows, database->Prepare(
      "SELECT through_seq, part, body, checksum FROM snapshot_parts"
      " WHERE through_seq = (SELECT max(through_seq) FROM snapshot_parts) ORDER BY part"));
  std::int64_t through = 0;
  for (;;) {
    ENTRAIN_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return through;
    through = rows.Int(0);
    const std::int64_t number = rows.Int(1);
    journal::v1::SnapshotPart part;
    const std::string_view body = rows.Blob(2);
    if (Checksum(body) != rows.Int(3)) return Damaged(*database, "snapshot_parts", number, "its checksum does not match");
    if (!part.ParseFromArray(body.data(), static_cast<int>(body.size()))) return Damaged(*database, "snapshot_parts", number, "no facts");
    for (const std::string& bytes : part.facts()) {
      absl::StatusOr<domain::Fact> fact = journal::DecodeFact(bytes);
      if (!fact.ok()) return Damaged(*database, "snapshot_parts", number, std::string(fact.status().message()));
      visit(*std::move(fact));
    }
  }
}

absl::Status ReadFacts(Database* database, std::int64_t first, const std::function<void(domain::Fact)>& visit) {
  ENTRAIN_ASSIGN_OR_RETURN(Statement rows, database->Prepare("SELECT seq, body, checksum FROM facts WHERE seq >= ? ORDER BY seq"));
  rows.Bind(1, first);
  for (std::int64_t expected = first;; ++expected) {
    ENTRAIN_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return absl::OkStatus();
    if (rows.Int(0) != expected) return Damaged(*database, "facts", expected, "it is missing");
    if (Checksum(rows.Blob(1)) != rows.Int(2)) return Damaged(*database, "facts", expected, "its checksum does not match");
    absl::StatusOr<domain::Fact> fact = journal::DecodeFact(rows.Blob(1));
    if (!fact.ok()) return Damaged(*database, "facts", expected, std::string(fact.status().message()));
    visit(*std::move(fact));
  }
}

absl::Status ReadEvents(Database* database, std::string_view term, const std::function<void(StoredEvent)>& visit) {
  ENTRAIN_ASSIGN_OR_RETURN(Statement rows,
                           database->Prepare(StrCat("SELECT seq, facts_before, ", term, ", body FROM events ORDER BY seq")));
  for (;;) {
    ENTRAIN_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return absl::OkStatus();
    absl::StatusOr<domain::Event> event = journal::DecodeEvent(rows.Blob(3));
    if (!event.ok()) return Damaged(*database, "events", rows.Int(0), std::string(event.status().message()));
    visit({rows.Int(0), rows.Int(1), rows.Int(2), *std::move(event)});
  }
}

}  // namespace entrain::store
