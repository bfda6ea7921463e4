// What became of a recorded run: the truth that a policy's verdicts are compared with. Written down before any rule was tuned, and
// knows nothing of rules.
#pragma once

#include <cstdint>
#include <optional>

#include "policy/backtest/trace.h"

namespace entrain::policy::backtest {

// Shares of U = ln(T!)/T.
inline constexpr double kCollapsedShare = 0.05;
inline constexpr double kDippedShare = 0.5;

struct Label {
  // The loss is not finite at some step, or over the last tenth of the steps some layer's heads average below 0.05 U.
  bool collapsed = false;
  bool non_finite = false;
  // Of the first layer to go. By entropy: the first step from which on the median head of a layer that is collapsed at the end
  // stays below 0.05 U to the end; where there is none, the first step of the last tenth. By loss: the first that is not finite.
  std::optional<std::int64_t> onset_step;
  std::optional<std::int64_t> onset_layer;
  // Some layer's heads averaged below 0.5 U at some step: what a careless rule would take for a collapse.
  bool dipped = false;
  // Some layer's median head was below 0.05 U at some step, though the run may have recovered.
  bool touched = false;
};

// A trace without samples is healthy. Heads whose entropy is not finite are left out of means and medians.
Label LabelOf(const Trace& trace);

}  // namespace entrain::policy::backtest
