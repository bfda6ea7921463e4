#include "policy/backtest/split.h"

#include <charconv>
#include <cstdint>

#include "base/hash.h"
#include "base/strings.h"

namespace entrain::policy::backtest {

std::string GroupOf(const Trace& trace) { return StrCat(trace.variant, "|", trace.shape.n_layer, "|", trace.learning_rate); }

Part PartOf(const std::string& group) {
  const std::string hex = HashHex(group);
  std::uint32_t number = 0;
  std::from_chars(hex.data(), hex.data() + 8, number, 16);
  return number % 100 < 60 ? Part::kTest : Part::kTraining;
}

}  // namespace entrain::policy::backtest
