// The whole journal as it lies on disk, for a re-decision. Only reads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "domain/event.h"
#include "domain/fact.h"

namespace entrain::store {

struct StoredEvent {
  std::int64_t number = 0;        // from 1
  std::int64_t facts_before = 0;  // committed before its batch
  std::int64_t term = 0;          // of the process that stored it; 0: stored before terms were
  domain::Event event;
};

struct History {
  // Stand for the facts before `first_fact` where those are not kept any more; empty when all are.
  std::vector<domain::Fact> snapshot;
  std::int64_t first_fact = 1;
  std::vector<domain::Fact> facts;
  std::vector<StoredEvent> events;  // those whose batch begins at `first_fact` or later
  std::int64_t skipped_events = 0;  // that came before
};

// Errors as OpenSqliteStore; UNAVAILABLE while a coordinator has it open. Nothing is created or migrated.
absl::StatusOr<History> ReadHistory(const std::string& path);

// As the journal's bytes say it: not for transient facts.
bool SameAsStored(const domain::Fact& a, const domain::Fact& b);
// On one line, for people: `run_started { key { run: "r1" attempt: 1 } }` with its times.
std::string Describe(const domain::Fact& fact);

}  // namespace entrain::store
