#include <filesystem>

#include "base/status_macros.h"
#include "coordinator/store/sqlite_journal.h"
#include "coordinator/store/sqlite_samples.h"
#include "coordinator/store/store.h"
#include "coordinator/store/two_lanes.h"

namespace entrain::store {

absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(const std::string& path) {
  // The journal's lock guards both files: whoever holds it is the only one to open the second.
  ENTRAIN_ASSIGN_OR_RETURN(auto journal, SqliteJournal::Open(path));
  const std::filesystem::path samples_path = std::filesystem::path(path).replace_extension(".samples.db");
  ENTRAIN_ASSIGN_OR_RETURN(auto samples, SqliteSamples::Open(samples_path.string()));
  return std::make_unique<TwoLanes<SqliteJournal, SqliteSamples>>(std::move(journal), std::move(samples));
}

}  // namespace entrain::store
