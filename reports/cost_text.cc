#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "reports/cost_model.h"
#include "reports/number_text.h"
#include "reports/report_data.h"

namespace entrain::reports {
namespace {

std::string Line(std::string_view name, const std::string& gb, const std::string& gb_share, const std::string& rounds,
                 const std::string& minutes, const std::string& minutes_share) {
  char buffer[160];
  std::snprintf(buffer, sizeof buffer, "%-22s %10s %7s %12s %10s %7s\n", std::string(name).c_str(), gb.c_str(), gb_share.c_str(),
                rounds.c_str(), minutes.c_str(), minutes_share.c_str());
  return buffer;
}

std::string Share(double part, double whole) { return whole > 0 ? FixedText(100.0 * part / whole, 1) + "%" : "-"; }

}  // namespace

std::string CostText(const InferenceCost& cost) {
  std::string text = Line("operation", "GB", "", "round trips", "minutes", "");
  double round_trips = 0;
  for (const CostItem& item : cost.items) {
    const double gb = item.communication_bytes / 1e9;
    const double minutes = item.latency_seconds / 60.0;
    round_trips += item.round_trips;
    text += Line(Coefficients()[static_cast<std::size_t>(item.operation)].name, FixedText(gb, 3), Share(gb, cost.communication_gb),
                 FixedText(item.round_trips, 0), FixedText(minutes, 3), Share(minutes, cost.latency_minutes));
  }
  return text + Line("total", FixedText(cost.communication_gb, 2), "", FixedText(round_trips, 0),
                     FixedText(cost.latency_minutes, 2), "");
}

std::string CostJson(const InferenceCost& cost) {
  nlohmann::json items = nlohmann::json::array();
  for (const CostItem& item : cost.items) {
    const Coefficient& coefficient = Coefficients()[static_cast<std::size_t>(item.operation)];
    items.push_back({{"operation", coefficient.name},
                     {"unit", coefficient.unit},
                     {"units", item.units},
                     {"communication_bytes", item.communication_bytes},
                     {"round_trips", item.round_trips},
                     {"latency_seconds", item.latency_seconds},
                     {"source", coefficient.source}});
  }
  const nlohmann::json whole = {
      {"communication_gb", cost.communication_gb}, {"latency_minutes", cost.latency_minutes}, {"operations", items}};
  return DumpJson(whole, 2) + "\n";
}

}  // namespace entrain::reports
