// A sweep's whole data, fetched for the leaderboard and the report.
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "cli/client.h"
#include "reports/report.h"

namespace entrain::cli {

// About this many samples of every run; the last one is always among them.
inline constexpr std::int64_t kReportSamples = 2'000;

// `on_run` hears how many of the runs are fetched. Numbers that the wire's checks refuse end it with INVALID_ARGUMENT. `samples_a_run`
// thins each run to about so many; 0: all of them.
absl::StatusOr<reports::SweepData> CollectSweep(Client* client, const std::string& sweep_id,
                                                const std::function<void(int done, int all)>& on_run = {},
                                                std::int64_t samples_a_run = kReportSamples);

// "<name>-<id>", safe as a file name.
std::string ReportStem(const reports::SweepData& sweep);

}  // namespace entrain::cli
