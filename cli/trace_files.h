// Recorded runs on disk: one file a run, JSON, packed with gzip where its name ends in .gz.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "policy/backtest/trace.h"
#include "reports/report.h"

namespace entrain::cli {

// Of a run whose configuration this program can read. FAILED_PRECONDITION otherwise.
absl::StatusOr<policy::backtest::Trace> TraceOf(const reports::RunData& run, const std::string& sweep_name);

// Makes the folder and writes one .json.gz a trace, named by its label; the number of bytes.
absl::StatusOr<std::int64_t> WriteTraces(const std::string& folder, const std::vector<policy::backtest::Trace>& traces);
// Every .json and .json.gz of the folder and those inside it, by path. An error names the file.
absl::StatusOr<std::vector<policy::backtest::Trace>> ReadTraces(const std::string& folder);

}  // namespace entrain::cli
