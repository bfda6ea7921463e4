#include "coordinator/store/sqlite_journal.h"

#include <algorithm>
#include <limits>

#include "base/status_macros.h"
#include "base/strings.h"
#include "coordinator/store/journal_rows.h"
#include "proto/journal.h"

namespace entrain::store {
namespace {

// `checksum` is XXH3 of the body: it finds damage that the file's structure does not show.
const char* const kJournalSchema1 = R"sql(
  CREATE TABLE facts (
    seq INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL,
    kind TEXT NOT NULL,
    body BLOB NOT NULL,
    checksum INTEGER NOT NULL
  );
  CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL,
    facts_before INTEGER NOT NULL,
    body BLOB NOT NULL
  );
  CREATE TABLE snapshot_parts (
    through_seq INTEGER NOT NULL,
    part INTEGER NOT NULL,
    body BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (through_seq, part)
  );
)sql";

// Events of earlier builds have term 0: which process stored them is not known.
const char* const kJournalSchema2 = "ALTER TABLE events ADD COLUMN term INTEGER NOT NULL DEFAULT 0;";

// Of one step of a copy: a decision waits for no more than that.
constexpr int kPagesPerStep = 1'024;

class CopyOfJournal : public Journal::Copy {
 public:
  explicit CopyOfJournal(std::unique_ptr<DatabaseCopy> copy) : copy_(std::move(copy)) {}
  absl::StatusOr<bool> Step() override { return copy_->Step(kPagesPerStep); }

 private:
  const std::unique_ptr<DatabaseCopy> copy_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<SqliteJournal>> SqliteJournal::Open(const std::string& path) {
  ENTRAIN_ASSIGN_OR_RETURN(auto database, Database::Open(path, {.read_only = false, .exclusive = true}));
  ENTRAIN_RETURN_IF_ERROR(Migrate(database.get(), {kJournalSchema1, kJournalSchema2}, std::numeric_limits<std::int64_t>::max()));
  std::unique_ptr<SqliteJournal> journal(new SqliteJournal(std::move(database)));
  ENTRAIN_RETURN_IF_ERROR(journal->Prepare());
  ENTRAIN_RETURN_IF_ERROR(journal->LoadCounters());
  return journal;
}

absl::Status SqliteJournal::Prepare() {
  ENTRAIN_ASSIGN_OR_RETURN(insert_fact_, database_->Prepare("INSERT INTO facts VALUES (?, ?, ?, ?, ?, ?)"));
  ENTRAIN_ASSIGN_OR_RETURN(insert_event_,
                           database_->Prepare("INSERT INTO events (at_ms, wall_ms, facts_before, body, term) VALUES (?, ?, ?, ?, ?)"));
  ENTRAIN_ASSIGN_OR_RETURN(insert_part_, database_->Prepare("INSERT INTO snapshot_parts VALUES (?, ?, ?, ?)"));
  return absl::OkStatus();
}

absl::Status SqliteJournal::LoadCounters() {
  ENTRAIN_ASSIGN_OR_RETURN(Statement last, database_->Prepare("SELECT coalesce(max(seq), 0) FROM facts"));
  ENTRAIN_RETURN_IF_ERROR(last.Step().status());
  last_seq_ = last.Int(0);
  ENTRAIN_ASSIGN_OR_RETURN(Statement time, database_->Prepare(
      "SELECT max(coalesce((SELECT at_ms FROM events ORDER BY seq DESC LIMIT 1), 0),"
      " coalesce((SELECT at_ms FROM facts ORDER BY seq DESC LIMIT 1), 0))"));
  ENTRAIN_RETURN_IF_ERROR(time.Step().status());
  last_event_ms_ = time.Int(0);
  ENTRAIN_ASSIGN_OR_RETURN(Statement rest, database_->Prepare(
      "SELECT coalesce((SELECT term FROM events ORDER BY seq DESC LIMIT 1), 0),"
      " (SELECT coalesce(max(through_seq), 0) FROM snapshot_parts)"));
  ENTRAIN_RETURN_IF_ERROR(rest.Step().status());
  term_ = rest.Int(0) + 1;
  through_seq_ = rest.Int(1);
  return absl::OkStatus();
}

absl::Status SqliteJournal::InsertFact(const domain::Fact& fact, std::int64_t seq) {
  const std::string body = journal::EncodeFact(fact);
  insert_fact_.Bind(1, seq);
  insert_fact_.Bind(2, fact.at_ms);
  insert_fact_.Bind(3, fact.wall_ms);
  insert_fact_.BindText(4, journal::KindOf(fact));
  insert_fact_.BindBlob(5, body);
  insert_fact_.Bind(6, Checksum(body));
  return insert_fact_.Run();
}

absl::Status SqliteJournal::InsertEvent(const domain::Event& event, std::int64_t facts_before) {
  const std::string body = journal::EncodeEvent(event);
  insert_event_.Bind(1, event.at_ms);
  insert_event_.Bind(2, event.wall_ms);
  insert_event_.Bind(3, facts_before);
  insert_event_.BindBlob(4, body);
  insert_event_.Bind(5, term_);
  return insert_event_.Run();
}

absl::Status SqliteJournal::Commit(const std::vector<domain::Event>& events, const std::vector<domain::Fact>& facts) {
  std::int64_t seq = last_seq_;
  const absl::Status committed = database_->Transact([&]() -> absl::Status {
    for (const domain::Fact& fact : facts) {
      if (!domain::IsTransient(fact)) ENTRAIN_RETURN_IF_ERROR(InsertFact(fact, ++seq));
    }
    for (const domain::Event& event : events) ENTRAIN_RETURN_IF_ERROR(InsertEvent(event, last_seq_));
    return absl::OkStatus();
  });
  if (!committed.ok()) return committed;
  last_seq_ = seq;
  for (const domain::Event& event : events) last_event_ms_ = std::max(last_event_ms_, event.at_ms);
  return absl::OkStatus();
}

absl::Status SqliteJournal::Replay(const std::function<void(domain::Fact)>& apply) {
  ENTRAIN_ASSIGN_OR_RETURN(const std::int64_t through, ReadSnapshot(database_.get(), apply));
  return ReadFacts(database_.get(), through + 1, apply);
}

absl::Status SqliteJournal::WriteSnapshot(const std::vector<domain::Fact>& facts) {
  const absl::Status written = database_->Transact([&]() -> absl::Status {
    ENTRAIN_RETURN_IF_ERROR(database_->Execute("DELETE FROM snapshot_parts"));
    std::int64_t part = 0;
    for (const std::string& body : SnapshotBodies(facts)) {
      insert_part_.Bind(1, last_seq_);
      insert_part_.Bind(2, part++);
      insert_part_.BindBlob(3, body);
      insert_part_.Bind(4, Checksum(body));
      ENTRAIN_RETURN_IF_ERROR(insert_part_.Run());
    }
    return absl::OkStatus();
  });
  if (written.ok()) through_seq_ = last_seq_;
  return written;
}

absl::StatusOr<std::unique_ptr<Journal::Copy>> SqliteJournal::BeginCopy(const std::string& path) {
  ENTRAIN_ASSIGN_OR_RETURN(auto copy, DatabaseCopy::Begin(database_.get(), path));
  return std::make_unique<CopyOfJournal>(std::move(copy));
}

absl::Status SqliteJournal::ReplayEvents(const std::function<void(const domain::Event&, std::int64_t)>& visit) {
  return ReadEvents(database_.get(), "term", [&](StoredEvent event) { visit(event.event, event.facts_before); });
}

}  // namespace entrain::store
