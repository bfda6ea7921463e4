// From a pool file to the provider that it names.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "coordinator/pool/pool_file.h"
#include "coordinator/pool/provider.h"

namespace entrain::pool {

// INVALID_ARGUMENT lists every problem of the file. The clock outlives the provider; `pause` waits between the tries of a call, false when
// there is to be no further one.
absl::StatusOr<std::unique_ptr<PoolProvider>> OpenPool(const PoolFile& file, const Clock* clock, std::function<bool(std::int64_t ms)> pause);

}  // namespace entrain::pool
