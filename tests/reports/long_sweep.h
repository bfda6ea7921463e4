// A sweep as large as a report must bear, the way of a real one: written to a store sample by sample and read back as the report's
// command does.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "coordinator/store/store.h"
#include "reports/report.h"
#include "tests/reports/sample_sweep.h"

namespace entrain::reports {

// Fills `store` with `runs` runs of the shape (its seeds are ignored) and reads them back, each thinned to about `samples_a_run` samples.
absl::StatusOr<SweepData> SweepThroughStore(store::Store* store, const SampleShape& shape, int runs, std::int64_t samples_a_run);

}  // namespace entrain::reports
