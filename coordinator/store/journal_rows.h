// Reading the journal's tables, checked row by row. Private to the store.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "coordinator/store/history.h"
#include "coordinator/store/sqlite.h"

namespace entrain::store {

// XXH3 of the bytes: it finds damage that the file's structure does not show.
std::int64_t Checksum(std::string_view bytes);

// The snapshot's facts in order; returns the fact that it stands through, 0: no snapshot.
absl::StatusOr<std::int64_t> ReadSnapshot(Database* database, const std::function<void(domain::Fact)>& visit);
// The facts from number `first` on, without a gap.
absl::Status ReadFacts(Database* database, std::int64_t first, const std::function<void(domain::Fact)>& visit);
// `term`: the SQL of an event's term, "0" where the schema has none.
absl::Status ReadEvents(Database* database, std::string_view term, const std::function<void(StoredEvent)>& visit);

}  // namespace entrain::store
