// A prepared dataset to the coordinator, with a progress line for people.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "cli/session.h"
#include "domain/run_config.h"

namespace entrain::cli {

// Reads everything and compares it with its hashes before anything is sent. True when the coordinator had it already.
absl::StatusOr<bool> PushWithProgress(Session* session, const domain::DatasetRef& ref, const std::string& dir);

// Pushes what was just prepared unless the coordinator has it; OK without asking twice where both share the artifact root.
absl::Status PushIfMissing(Session* session, const domain::DatasetRef& ref, const std::string& artifacts);

}  // namespace entrain::cli
