// Recorded runs as JSON: what `entrain export --format traces` writes and `entrain policy test --traces` reads. docs/policy.md has the format.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "policy/backtest/trace.h"

namespace entrain::reports {

// Losses, gradient norms and scores with six significant digits; entropies in the compact form.
std::string TraceJson(const policy::backtest::Trace& trace);
// Entropies come back as the sample store would give them. INVALID_ARGUMENT names the field.
absl::StatusOr<policy::backtest::Trace> ParseTrace(std::string_view json);

}  // namespace entrain::reports
