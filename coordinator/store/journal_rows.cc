#include "coordinator/store/journal_rows.h"

#include <algorithm>

#include "base/hash.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "entrain/journal/v1/journal.pb.h"
#include "proto/journal.h"

namespace entrain::store {
namespace {

absl::Status Damaged(std::string_view where, std::string_view table, std::int64_t seq, std::string_view why) {
  return absl::DataLossError(StrCat("database ", where, " is damaged: ", table, " row ", seq, ": ", why));
}

}  // namespace

std::int64_t Checksum(std::string_view bytes) { return static_cast<std::int64_t>(Hash64(bytes)); }

absl::Status VisitSnapshotRow(std::string_view where, std::int64_t part, std::string_view body, std::int64_t checksum, const VisitFact& visit) {
  if (Checksum(body) != checksum) return Damaged(where, "snapshot_parts", part, "its checksum does not match");
  journal::v1::SnapshotPart message;
  if (!message.ParseFromArray(body.data(), static_cast<int>(body.size()))) return Damaged(where, "snapshot_parts", part, "no facts");
  for (const std::string& bytes : message.facts()) {
    absl::StatusOr<domain::Fact> fact = journal::DecodeFact(bytes);
    if (!fact.ok()) return Damaged(where, "snapshot_parts", part, std::string(fact.status().message()));
    visit(*std::move(fact));
  }
  return absl::OkStatus();
}

absl::Status VisitFactRow(std::string_view where, std::int64_t expected, std::int64_t seq, std::string_view body, std::int64_t checksum,
                          const VisitFact& visit) {
  if (seq != expected) return Damaged(where, "facts", expected, "it is missing");
  if (Checksum(body) != checksum) return Damaged(where, "facts", expected, "its checksum does not match");
  absl::StatusOr<domain::Fact> fact = journal::DecodeFact(body);
  if (!fact.ok()) return Damaged(where, "facts", expected, std::string(fact.status().message()));
  visit(*std::move(fact));
  return absl::OkStatus();
}

absl::StatusOr<domain::Event> DecodeEventRow(std::string_view where, std::int64_t seq, std::string_view body) {
  absl::StatusOr<domain::Event> event = journal::DecodeEvent(body);
  if (event.ok()) return event;
  return Damaged(where, "events", seq, std::string(event.status().message()));
}

std::vector<std::string> SnapshotBodies(const std::vector<domain::Fact>& facts) {
  std::vector<std::string> bodies;
  for (std::size_t begin = 0; begin == 0 || begin < facts.size(); begin += kFactsPerPart) {
    journal::v1::SnapshotPart message;
    for (std::size_t i = begin; i < std::min(begin + kFactsPerPart, facts.size()); ++i) {
      if (!domain::IsTransient(facts[i])) message.add_facts(journal::EncodeFact(facts[i]));
    }
    bodies.push_back(message.SerializeAsString());
  }
  return bodies;
}

absl::StatusOr<History> AssembleHistory(const HistorySource& source) {
  History history;
  ENTRAIN_ASSIGN_OR_RETURN(history.first_fact, source.first_fact());
  if (history.first_fact > 1) {
    ENTRAIN_ASSIGN_OR_RETURN(const std::int64_t through,
                             source.snapshot([&](domain::Fact fact) { history.snapshot.push_back(std::move(fact)); }));
    if (through + 1 < history.first_fact) {
      return absl::DataLossError(StrCat("database ", source.where, " is damaged: facts ", through + 1, " to ", history.first_fact - 1,
                                        " are missing"));
    }
    history.first_fact = through + 1;
  }
  ENTRAIN_RETURN_IF_ERROR(source.facts(history.first_fact, [&](domain::Fact fact) { history.facts.push_back(std::move(fact)); }));
  ENTRAIN_RETURN_IF_ERROR(source.events([&](StoredEvent event) {
    if (event.facts_before + 1 < history.first_fact) {
      ++history.skipped_events;
    } else {
      history.events.push_back(std::move(event));
    }
  }));
  return history;
}

absl::StatusOr<std::int64_t> ReadSnapshot(Database* database, const VisitFact& visit) {
  ENTRAIN_ASSIGN_OR_RETURN(Statement rows, database->Prepare(
      "SELECT through_seq, part, body, checksum FROM snapshot_parts"
      " WHERE through_seq = (SELECT max(through_seq) FROM snapshot_parts) ORDER BY part"));
  std::int64_t through = 0;
  for (;;) {
    ENTRAIN_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return through;
    through = rows.Int(0);
    ENTRAIN_RETURN_IF_ERROR(VisitSnapshotRow(database->path(), rows.Int(1), rows.Blob(2), rows.Int(3), visit));
  }
}

absl::Status ReadFacts(Database* database, std::int64_t first, const VisitFact& visit) {
  ENTRAIN_ASSIGN_OR_RETURN(Statement rows, database->Prepare("SELECT seq, body, checksum FROM facts WHERE seq >= ? ORDER BY seq"));
  rows.Bind(1, first);
  for (std::int64_t expected = first;; ++expected) {
    ENTRAIN_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return absl::OkStatus();
    ENTRAIN_RETURN_IF_ERROR(VisitFactRow(database->path(), expected, rows.Int(0), rows.Blob(1), rows.Int(2), visit));
  }
}

absl::Status ReadEvents(Database* database, std::string_view term, const std::function<void(StoredEvent)>& visit) {
  ENTRAIN_ASSIGN_OR_RETURN(Statement rows,
                           database->Prepare(StrCat("SELECT seq, facts_before, ", term, ", body FROM events ORDER BY seq")));
  for (;;) {
    ENTRAIN_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return absl::OkStatus();
    ENTRAIN_ASSIGN_OR_RETURN(domain::Event event, DecodeEventRow(database->path(), rows.Int(0), rows.Blob(3)));
    visit({rows.Int(0), rows.Int(1), rows.Int(2), std::move(event)});
  }
}

}  // namespace entrain::store
