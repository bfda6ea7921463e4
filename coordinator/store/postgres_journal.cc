#include "coordinator/store/postgres_journal.h"

#include <algorithm>

#include "base/status_macros.h"
#include "base/strings.h"
#include "coordinator/store/postgres_rows.h"
#include "proto/journal.h"

namespace entrain::store {
namespace {

// The columns of rows that are sent together.
struct RowColumns {
  std::vector<std::int64_t> seq, at_ms, wall_ms, checksum;
  std::vector<std::string> bodies;
  std::vector<std::string_view> kinds;

  std::vector<std::string_view> Views() const { return {bodies.begin(), bodies.end()}; }
};

const std::string& CommitSql() {
  static const std::string sql = StrCat(
      "WITH fence AS (", PostgresLane::FenceSql("journal"), "),"
      " new_facts AS (INSERT INTO facts (seq, at_ms, wall_ms, kind, body, checksum) SELECT f.* FROM fence,"
      "  unnest($3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::bytea[], $8::bigint[]) AS f),"
      " new_events AS (INSERT INTO events (seq, at_ms, wall_ms, body, facts_before, term) SELECT e.*, $13::bigint, $14::bigint FROM fence,"
      "  unnest($9::bigint[], $10::bigint[], $11::bigint[], $12::bytea[]) AS e)"
      " SELECT count(*) FROM fence");
  return sql;
}

const std::string& SnapshotSql() {
  static const std::string sql = StrCat(
      "WITH fence AS (", PostgresLane::FenceSql("journal"), "),"
      " older AS (DELETE FROM snapshot_parts USING fence),"
      " newer AS (INSERT INTO snapshot_parts (part, body, checksum, number, through_seq) SELECT p.*, $6::bigint, $7::bigint FROM fence,"
      "  unnest($3::bigint[], $4::bytea[], $5::bigint[]) AS p)"
      " SELECT count(*) FROM fence");
  return sql;
}

}  // namespace

absl::StatusOr<std::unique_ptr<PostgresJournal>> PostgresJournal::Open(PostgresLease* lease) {
  std::unique_ptr<PostgresJournal> journal(new PostgresJournal(lease));
  ENTRAIN_RETURN_IF_ERROR(journal->lane_.Fence());
  ENTRAIN_RETURN_IF_ERROR(journal->LoadCounters());
  return journal;
}

AskPostgres PostgresJournal::Ask() {
  return [this](const std::string& sql, const PostgresValues& values) { return reader_.Run(sql, values); };
}

absl::StatusOr<PostgresJournal::Position> PostgresJournal::ReadPosition() {
  ENTRAIN_ASSIGN_OR_RETURN(const PostgresRows rows, reader_.Run("SELECT coalesce((SELECT max(seq) FROM facts), 0)::bigint,"
                                                                " coalesce((SELECT max(seq) FROM events), 0)::bigint,"
                                                                " coalesce((SELECT max(number) FROM snapshot_parts), 0)::bigint",
                                                                {}));
  return Position{rows.Int(0, 0), rows.Int(0, 1), rows.Int(0, 2)};
}

absl::Status PostgresJournal::LoadCounters() {
  ENTRAIN_ASSIGN_OR_RETURN(at_, ReadPosition());
  ENTRAIN_ASSIGN_OR_RETURN(const PostgresRows rows, reader_.Run(
      "SELECT greatest(coalesce((SELECT at_ms FROM events ORDER BY seq DESC LIMIT 1), 0),"
      " coalesce((SELECT at_ms FROM facts ORDER BY seq DESC LIMIT 1), 0))::bigint,"
      " coalesce((SELECT term FROM events ORDER BY seq DESC LIMIT 1), 0)::bigint,"
      " coalesce((SELECT max(through_seq) FROM snapshot_parts), 0)::bigint", {}));
  last_event_ms_ = rows.Int(0, 0);
  term_ = rows.Int(0, 1) + 1;
  through_seq_ = rows.Int(0, 2);
  return absl::OkStatus();
}

absl::StatusOr<bool> PostgresJournal::Landed(const Position& after) {
  ENTRAIN_ASSIGN_OR_RETURN(const Position found, ReadPosition());
  if (found == after) return true;
  if (found == at_) return false;
  return absl::DataLossError(StrCat("database ", reader_.name(), " is damaged: its journal is at fact ", found.fact, ", event ", found.event,
                                    ", where only this coordinator writes and expects ", at_.fact, ", ", at_.event));
}

absl::Status PostgresJournal::Commit(const std::vector<domain::Event>& events, const std::vector<domain::Fact>& facts) {
  Position after = at_;
  RowColumns fact_rows;
  for (const domain::Fact& fact : facts) {
    if (domain::IsTransient(fact)) continue;
    fact_rows.seq.push_back(++after.fact);
    fact_rows.at_ms.push_back(fact.at_ms);
    fact_rows.wall_ms.push_back(fact.wall_ms);
    fact_rows.kinds.push_back(journal::KindOf(fact));
    fact_rows.bodies.push_back(journal::EncodeFact(fact));
    fact_rows.checksum.push_back(Checksum(fact_rows.bodies.back()));
  }
  RowColumns event_rows;
  for (const domain::Event& event : events) {
    event_rows.seq.push_back(++after.event);
    event_rows.at_ms.push_back(event.at_ms);
    event_rows.wall_ms.push_back(event.wall_ms);
    event_rows.bodies.push_back(journal::EncodeEvent(event));
  }
  if (after == at_) return absl::OkStatus();
  const auto bind = [&](PostgresValues* values) {
    values->Ints(fact_rows.seq).Ints(fact_rows.at_ms).Ints(fact_rows.wall_ms).Texts(fact_rows.kinds).Blobs(fact_rows.Views());
    values->Ints(fact_rows.checksum).Ints(event_rows.seq).Ints(event_rows.at_ms).Ints(event_rows.wall_ms).Blobs(event_rows.Views());
    values->Int(at_.fact).Int(term_);
  };
  ENTRAIN_RETURN_IF_ERROR(lane_.Write(CommitSql(), bind, [&] { return Landed(after); }));
  at_ = after;
  for (const domain::Event& event : events) last_event_ms_ = std::max(last_event_ms_, event.at_ms);
  return absl::OkStatus();
}

absl::Status PostgresJournal::Replay(const std::function<void(domain::Fact)>& apply) {
  ENTRAIN_ASSIGN_OR_RETURN(const std::int64_t through, ReadPostgresSnapshot(Ask(), reader_.name(), apply));
  return ReadPostgresFacts(Ask(), reader_.name(), through + 1, apply);
}

absl::Status PostgresJournal::WriteSnapshot(const std::vector<domain::Fact>& facts) {
  const std::vector<std::string> bodies = SnapshotBodies(facts);
  std::vector<std::int64_t> parts;
  std::vector<std::int64_t> checksums;
  for (const std::string& body : bodies) {
    parts.push_back(static_cast<std::int64_t>(parts.size()));
    checksums.push_back(Checksum(body));
  }
  Position after = at_;
  ++after.snapshot;
  const auto bind = [&](PostgresValues* values) {
    values->Ints(parts).Blobs({bodies.begin(), bodies.end()}).Ints(checksums).Int(after.snapshot).Int(at_.fact);
  };
  ENTRAIN_RETURN_IF_ERROR(lane_.Write(SnapshotSql(), bind, [&] { return Landed(after); }));
  at_ = after;
  through_seq_ = at_.fact;
  return absl::OkStatus();
}

absl::Status PostgresJournal::ReplayEvents(const std::function<void(const domain::Event&, std::int64_t)>& visit) {
  return ReadPostgresEvents(Ask(), reader_.name(), [&](StoredEvent event) { visit(event.event, event.facts_before); });
}

}  // namespace entrain::store
