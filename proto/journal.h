// Facts and events <-> the bytes that the store keeps. What was written by an earlier build decodes; what a newer build wrote and
// this one does not know is DATA_LOSS, never a silent gap.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "domain/event.h"
#include "domain/fact.h"
#include "domain/health_rules.h"

namespace entrain::journal {

// Not for transient facts.
std::string EncodeFact(const domain::Fact& fact);
absl::StatusOr<domain::Fact> DecodeFact(std::string_view bytes);

std::string EncodeEvent(const domain::Event& event);
absl::StatusOr<domain::Event> DecodeEvent(std::string_view bytes);

// The health rules alone: what a launch carries, so that a worker can apply them while its coordinator is away.
std::string EncodeHealthRules(const domain::HealthRules& rules);
absl::StatusOr<domain::HealthRules> DecodeHealthRules(std::string_view bytes);

// The kind's name in the journal, SQL and metrics, e.g. "run_placed", "worker_heartbeat".
std::string_view KindOf(const domain::Fact& fact);
std::string_view KindOf(const domain::Event& event);

}  // namespace entrain::journal
