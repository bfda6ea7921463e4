#include <algorithm>
#include <cmath>

#include "reports/report.h"

namespace entrain::reports {

Bands CountBands(const std::vector<float>& entropy_nats, std::int64_t context, BandBasis basis) {
  double top_nats = std::log(static_cast<double>(std::max<std::int64_t>(context, 1)));
  if (basis == BandBasis::kObservedMaximum) {
    top_nats = 0;
    for (float value : entropy_nats) {
      if (std::isfinite(value)) top_nats = std::max(top_nats, static_cast<double>(value));
    }
  }
  Bands bands;
  for (float value : entropy_nats) {
    if (!std::isfinite(value)) continue;
    // All heads at 0: the lowest quarter, whatever the maximum.
    const double share = top_nats > 0 ? value / top_nats : 0.0;
    ++bands.quarter[static_cast<std::size_t>(std::clamp(std::floor(share * 4.0), 0.0, 3.0))];
  }
  return bands;
}

}  // namespace entrain::reports
