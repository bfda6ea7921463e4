#include <cmath>
#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "reports/report.h"
#include "reports/report_data.h"

namespace entrain::reports {
namespace {

constexpr std::string_view kCsvHeader =
    "variant,axes,n,runs,completed,perplexity_mean,perplexity_spread,loss_mean,tokens_per_second_mean,result_step_min,"
    "result_step_max,communication_gb,latency_minutes,log_context_q1,log_context_q2,log_context_q3,log_context_q4,observed_q1,"
    "observed_q2,observed_q3,observed_q4,states,note\r\n";

std::string CsvField(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

std::string CsvNumber(double value) {
  if (std::isnan(value)) return "";
  return nlohmann::json(value).dump();
}

std::string StatesText(const LeaderboardRow& row) {
  std::string text;
  for (const auto& [state, count] : row.states) StrAppend(&text, text.empty() ? "" : "; ", state, " ", count);
  return text;
}

}  // namespace

std::string LeaderboardJson(const std::vector<LeaderboardRow>& rows) {
  nlohmann::json array = nlohmann::json::array();
  for (const LeaderboardRow& row : rows) array.push_back(RowJson(row));
  return DumpJson(array, 2) + "\n";
}

std::string LeaderboardCsv(const std::vector<LeaderboardRow>& rows) {
  std::string text(kCsvHeader);
  for (const LeaderboardRow& row : rows) {
    StrAppend(&text, CsvField(row.variant), ",", CsvField(row.axes), ",", row.n, ",", row.runs, ",",
              row.completed ? "true" : "false");
    for (double value : {row.perplexity_mean, row.perplexity_spread, row.loss_mean, row.tokens_per_second_mean}) {
      StrAppend(&text, ",", CsvNumber(value));
    }
    StrAppend(&text, ",", row.result_step_min, ",", row.result_step_max, ",", CsvNumber(row.communication_gb), ",",
              CsvNumber(row.latency_minutes));
    for (std::int64_t count : row.bands_log_context.quarter) StrAppend(&text, ",", count);
    for (std::int64_t count : row.bands_observed.quarter) StrAppend(&text, ",", count);
    StrAppend(&text, ",", CsvField(StatesText(row)), ",", CsvField(row.note), "\r\n");
  }
  return text;
}

}  // namespace entrain::reports
