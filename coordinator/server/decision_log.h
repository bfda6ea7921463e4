// The log's line for a decision, with the ids of its run and attempt, so that a run can be followed through the logs of coordinator and workers.
#pragma once

#include "domain/fact.h"

namespace entrain::server {

// Writes one line for a fact that people follow: sweeps and runs from their submission to their end, attempts, verdicts, and workers that fall silent,
// drain, are quarantined or forgotten. Every other fact writes none. Any thread.
void LogDecision(const domain::Fact& fact);

}  // namespace entrain::server
