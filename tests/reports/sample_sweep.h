// A sweep as the quickstart example makes one: eight variants, two seeds, L=6 H=4 T=64, with curves shaped like those measured at
// that size (softmax-only collapses from the deepest layer up and is stopped).
#pragma once

#include <cstdint>

#include "reports/report.h"

namespace entrain::reports {

struct SampleShape {
  std::int64_t seeds = 2;
  std::int64_t steps = 200;
  std::int64_t n_layer = 6;
  std::int64_t n_head = 4;
};
SweepData MakeSampleSweep(const SampleShape& shape = {});

}  // namespace entrain::reports
