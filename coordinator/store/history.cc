#include "coordinator/store/history.h"

#include "base/status_macros.h"
#include "base/strings.h"
#include "coordinator/store/journal_rows.h"
#include "entrain/journal/v1/journal.pb.h"
#include "proto/journal.h"

namespace entrain::store {
namespace {

constexpr std::int64_t kNewestSchema = 2;
constexpr std::int64_t kFirstSchemaWithTerms = 2;

absl::StatusOr<std::int64_t> FirstFact(Database* database) {
  ENTRAIN_ASSIGN_OR_RETURN(Statement first, database->Prepare("SELECT coalesce(min(seq), 1) FROM facts"));
  ENTRAIN_RETURN_IF_ERROR(first.Step().status());
  return first.Int(0);
}

}  // namespace

bool SameAsStored(const domain::Fact& a, const domain::Fact& b) { return journal::EncodeFact(a) == journal::EncodeFact(b); }

std::string Describe(const domain::Fact& fact) {
  journal::v1::Fact message;
  message.ParseFromString(journal::EncodeFact(fact));
  return message.ShortDebugString();
}

absl::StatusOr<History> ReadHistory(const std::string& path) {
  ENTRAIN_ASSIGN_OR_RETURN(auto database, Database::Open(path, {.read_only = true, .exclusive = false}));
  ENTRAIN_ASSIGN_OR_RETURN(const std::int64_t schema, CheckReadable(database.get(), kNewestSchema));
  History history;
  // One transaction, so that all three tables are of the same moment.
  ENTRAIN_RETURN_IF_ERROR(database->Execute("BEGIN"));
  ENTRAIN_ASSIGN_OR_RETURN(history.first_fact, FirstFact(database.get()));
  if (history.first_fact > 1) {
    ENTRAIN_ASSIGN_OR_RETURN(const std::int64_t through, ReadSnapshot(database.get(), [&](domain::Fact fact) {
                               history.snapshot.push_back(std::move(fact));
                             }));
    if (through + 1 < history.first_fact) {
      return absl::DataLossError(StrCat("database ", path, " is damaged: facts ", through + 1, " to ", history.first_fact - 1,
                                        " are missing"));
    }
    history.first_fact = through + 1;
  }
  ENTRAIN_RETURN_IF_ERROR(ReadFacts(database.get(), history.first_fact, [&](domain::Fact fact) {
    history.facts.push_back(std::move(fact));
  }));
  ENTRAIN_RETURN_IF_ERROR(
      ReadEvents(database.get(), schema < kFirstSchemaWithTerms ? "0" : "term", [&](StoredEvent event) {
        if (event.facts_before + 1 < history.first_fact) {
          ++history.skipped_events;
        } else {
          history.events.push_back(std::move(event));
        }
      }));
  return history;
}

}  // namespace entrain::store
