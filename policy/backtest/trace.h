// The recording of one run: what a back-test judges a policy on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "domain/sample.h"
#include "policy/policy.h"

namespace entrain::policy::backtest {

struct Trace {
  std::string label;    // for people, unique in its set
  std::string variant;
  double learning_rate = 0.0;
  std::uint64_t seed = 0;
  std::string source;   // the sweep it is from; may be empty
  RunShape shape;
  // In step order, entropies as the store gives them.
  std::vector<domain::EntropySample> samples;
};

}  // namespace entrain::policy::backtest
