// Which recorded runs rules may be tuned on, and which they are reported on. Written down before any rule was tuned.
#pragma once

#include <string>

#include "policy/backtest/trace.h"

namespace entrain::policy::backtest {

enum class Part { kTraining, kTest };

// Runs that differ in nothing but their seed are together: "SM+G|12|0.003".
std::string GroupOf(const Trace& trace);
// A function of the group's name alone: the test part where the first 32 bits of its 128-bit XXH3, as a number, leave a remainder below 60
// when divided by 100.
Part PartOf(const std::string& group);

}  // namespace entrain::policy::backtest
