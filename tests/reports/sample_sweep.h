// A sweep as the quickstart example makes one: eight variants, two seeds, L=6 H=4 T=64, with curves shaped like those measured at
// that size (softmax-only collapses from the deepest layer up and is stopped).
#pragma once

#include <cstddef>
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
// The sweep without its runs, and one of them: `variant` counts from 0 to SampleVariants() - 1.
SweepData MakeSampleHead();
RunData MakeSampleRun(const SampleShape& shape, std::size_t variant, std::int64_t seed);
std::size_t SampleVariants();
// Every part of a report in one: rescues, rungs of early stopping, verdicts that only notified, an axis beside the seed, a run that failed.
SweepData MakeFullSampleSweep();

}  // namespace entrain::reports
