// What a back-test says, for people and programs.
#pragma once

#include <string>
#include <vector>

#include "policy/backtest/replay.h"

namespace entrain::reports {

struct BackTest {
  std::string policy;  // "preset default", "rule collapse of preset eager"
  std::string traces;  // where they are from
  std::string part;    // "test", "training", "all"
  std::vector<policy::backtest::Outcome> outcomes;
};

// Confusion, lead times and savings with their intervals beside the targets, a plot in characters, and the runs it gets wrong.
std::string BackTestText(const BackTest& test);
std::string BackTestJson(const BackTest& test);
// One run a line, from its first step to its last: where its first layer collapsed, where it was stopped.
std::string BackTestSvg(const BackTest& test);

}  // namespace entrain::reports
