// The report's data as compact JSON: what report.js draws.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "reports/paper.h"
#include "reports/report.h"

namespace entrain::reports {

nlohmann::json RowJson(const LeaderboardRow& row);
nlohmann::json PaperComparisonJson(const PaperComparison& comparison);

// Invalid UTF-8 is replaced, never thrown at.
std::string DumpJson(const nlohmann::json& json, int indent = -1);

// Everything that the page shows, thinned to about `max_bytes` in all. `paper` may be null.
nlohmann::json ReportJson(const SweepData& sweep, const PaperComparison* paper, std::size_t max_bytes);

}  // namespace entrain::reports
