// From a pool file's `kubernetes` section to its provider.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "coordinator/pool/kubernetes_api.h"
#include "coordinator/pool/pool_file.h"
#include "coordinator/pool/provider.h"

namespace entrain::pool {

// Which set of workers it scales or, for `gang`, from which template it makes JobSets, and where the API server is. INVALID_ARGUMENT lists the
// file's problems with their places; FAILED_PRECONDITION says what this pod lacks. Asks the API server nothing yet.
absl::StatusOr<std::unique_ptr<PoolProvider>> MakeKubernetesPool(const PoolFile& file, const Clock* clock, Pause pause,
                                                                 std::int64_t call_limit_ms = kKubernetesCallLimitMs);

}  // namespace entrain::pool
