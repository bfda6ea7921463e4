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
  // One transaction, so that all three tables are of the same moment.
  ENTRAIN_RETURN_IF_ERROR(database->Execute("BEGIN"));
  Database* const tables = database.get();
  const std::string term = schema < kFirstSchemaWithTerms ? "0" : "term";
  return AssembleHistory({path, [tables] { return FirstFact(tables); }, [tables](const VisitFact& visit) { return ReadSnapshot(tables, visit); },
                          [tables](std::int64_t first, const VisitFact& visit) { return ReadFacts(tables, first, visit); },
                          [tables, &term](const auto& visit) { return ReadEvents(tables, term, visit); }});
}

}  // namespace entrain::store
