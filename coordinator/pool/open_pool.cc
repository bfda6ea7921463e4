#include "coordinator/pool/open_pool.h"

#include <utility>

#include "coordinator/pool/kubernetes_pool.h"
#include "coordinator/pool/slurm.h"

namespace entrain::pool {

absl::StatusOr<std::unique_ptr<PoolProvider>> OpenPool(const PoolFile& file, const Clock* clock, std::function<bool(std::int64_t ms)> pause) {
  if (file.provider == "slurm") return MakeSlurmProvider(file, clock);
  if (file.provider == "kubernetes") return MakeKubernetesPool(file, clock, std::move(pause));
  return absl::InvalidArgumentError(file.path + ": no provider " + file.provider);
}

}  // namespace entrain::pool
